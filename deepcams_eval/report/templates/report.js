"use strict";
(() => {
  const compare = (one, other) => {
    // What is undefined stays last, whichever way the rest is sorted.
    if (one === "" || other === "") return 0;
    const difference = Number(one) - Number(other);
    return Number.isNaN(difference) ? one.localeCompare(other) : difference;
  };
  const sort = (table, heading, place) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const key = (row) => row.cells[place].dataset.sort;
    const rows = Array.from(body.rows).sort((a, b) => {
      const empty = (key(a) === "") - (key(b) === "");
      return empty || (down ? -1 : 1) * compare(key(a), key(b));
    });
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = table.tHead.rows[table.tHead.rows.length - 1].cells;
    Array.from(headings).forEach((heading, place) => {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading, place));
    });
  }
  const box = document.getElementById("lightbox");
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      const image = button.querySelector("img");
      const large = box.querySelector("img");
      large.src = image.src;
      large.alt = image.alt;
      box.showModal();
    });
  }
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
})();
