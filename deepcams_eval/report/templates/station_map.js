"use strict";
(() => {
  const NUMBERS = { 8: Int8Array, 16: Int16Array, 32: Int32Array };
  const POINT = Math.PI * 2;
  const unpack = (packed) => {
    const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
    const whole = new NUMBERS[packed.bits](bytes.buffer);
    const none = -(2 ** (packed.bits - 1));
    const scale = 10 ** packed.decimals;
    return Float64Array.from(whole, (value) => (value === none ? NaN : value / scale));
  };
  const mercator = (latitude) => {
    const radians = (Math.max(-84, Math.min(84, latitude)) * Math.PI) / 180;
    return (Math.asinh(Math.tan(radians)) * 180) / Math.PI;
  };
  const within = (value, low, high) => Math.max(low, Math.min(high, value));
  const make = (tag, text, parent, name) => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (name) element.className = name;
    parent.append(element);
    return element;
  };

  const start = (root) => {
    const data = JSON.parse(root.querySelector(".map-data").textContent);
    const find = (name) => root.querySelector(name);
    const canvas = find("canvas");
    const pen = canvas.getContext("2d");
    const tip = find(".map-tip");
    const hint = find(".map-hint");
    const x = unpack(data.longitude);
    const y = unpack(data.latitude).map(mercator);
    const count = x.length;
    const provider = unpack(data.provider.code);
    const country = unpack(data.country.code);
    const scores = data.scores.map((one) =>
      Object.fromEntries(Object.entries(one).map(([key, value]) => [key, unpack(value)])));
    const [west, east, south, north] = data.frame;
    const [bottom, top] = [mercator(south), mercator(north)];
    const smallest = count < 300 ? 5 : count < 2000 ? 4 : 3;
    const view = { x: 0, y: 0, scale: 1, width: 1, height: 1, ratio: 1, whole: 1 };
    let chosen = -1;
    let waiting = false;
    let sprites = null;
    let colours = {};

    const coast = () => {
      const [lengths, across, up] = [data.coast.lengths, data.coast.x, data.coast.y].map(unpack);
      const path = new Path2D();
      let [at, column, row] = [0, 0, 0];
      for (const length of lengths) {
        for (let place = 0; place < length; place += 1, at += 1) {
          column += across[at];
          row += up[at];
          const one = [west + column * data.coast.step, -mercator(south + row * data.coast.step)];
          if (place) path.lineTo(...one);
          else path.moveTo(...one);
        }
      }
      return path;
    };
    const shore = coast();

    const product = () => Number(find(".map-product").value);
    const metric = () => data.metrics[Number(find(".map-metric").value)];
    const shown = () => scores[product()][metric().key];
    const column = (place) => (x[place] - view.x) * view.scale + view.width / 2;
    const row = (place) => (view.y - y[place]) * view.scale + view.height / 2;
    const radius = () => within(smallest + Math.log2(view.scale / view.whole), smallest, 9);
    const number = (value, decimals) => (Number.isNaN(value) ? "—" : value.toLocaleString("en", {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals,
    }).replace("-", "−"));

    const colourOf = (value) => {
      if (Number.isNaN(value)) return data.colours.length;
      const [low, high] = metric().range;
      const share = within((value - low) / (high - low), 0, 1);
      return Math.round((metric().falling ? 1 - share : share) * (data.colours.length - 1));
    };
    const makeSprites = (size) => {
      // A dot is drawn once a colour and then copied: thousands of arcs would be slow to move.
      const across = Math.ceil(2 * size + 3);
      const dots = [...data.colours, null].map((colour) => {
        const dot = document.createElement("canvas");
        dot.width = dot.height = Math.ceil(across * view.ratio);
        const ink = dot.getContext("2d");
        ink.scale(view.ratio, view.ratio);
        ink.beginPath();
        ink.arc(across / 2, across / 2, size, 0, POINT);
        ink.fillStyle = colour || colours.surface;
        ink.fill();
        ink.lineWidth = colour ? 0.8 : 1.3;
        ink.strokeStyle = colour ? colours.edge : colours.muted;
        ink.stroke();
        return dot;
      });
      sprites = { size, across, ratio: view.ratio, dots };
    };

    const graticule = () => {
      const wanted = 90 / view.scale;
      const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30].find((s) => s > wanted) || 60;
      const decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
      const half = view.width / 2 / view.scale;
      pen.strokeStyle = colours.line;
      pen.fillStyle = colours.muted;
      pen.lineWidth = 1;
      pen.font = "11px system-ui, sans-serif";
      pen.beginPath();
      const degrees = (value, plus, minus) =>
        `${Math.abs(value).toFixed(decimals)}°${value > 0 ? plus : value < 0 ? minus : ""}`;
      for (let k = Math.ceil((view.x - half) / step); k * step <= view.x + half; k += 1) {
        const at = Math.round((k * step - view.x) * view.scale + view.width / 2) + 0.5;
        pen.moveTo(at, 0);
        pen.lineTo(at, view.height);
        const turned = ((((k * step + 180) % 360) + 360) % 360) - 180;
        pen.fillText(degrees(turned, "E", "W"), at + 3, view.height - 5);
      }
      for (let k = Math.ceil(-84 / step); k * step <= 84; k += 1) {
        const at = Math.round((view.y - mercator(k * step)) * view.scale + view.height / 2) + 0.5;
        if (at > 16 && at < view.height - 24) {
          pen.moveTo(0, at);
          pen.lineTo(view.width, at);
          pen.fillText(degrees(k * step, "N", "S"), 5, at - 4);
        }
      }
      pen.stroke();
    };
    const paint = () => {
      waiting = false;
      const base = view.ratio;
      pen.setTransform(base, 0, 0, base, 0, 0);
      pen.clearRect(0, 0, view.width, view.height);
      graticule();
      if (shore) {
        pen.setTransform(base * view.scale, 0, 0, base * view.scale,
          base * (view.width / 2 - view.x * view.scale),
          base * (view.height / 2 + view.y * view.scale));
        pen.lineWidth = 1 / view.scale;
        pen.strokeStyle = colours.muted;
        pen.stroke(shore);
        pen.setTransform(base, 0, 0, base, 0, 0);
      }
      const size = radius();
      if (!sprites || Math.abs(sprites.size - size) > 0.2 || sprites.ratio !== base) makeSprites(size);
      const values = shown();
      const half = sprites.across / 2;
      for (let place = 0; place < count; place += 1) {
        const [across, down] = [column(place), row(place)];
        if (across < -half || down < -half || across > view.width + half || down > view.height + half) continue;
        pen.drawImage(sprites.dots[colourOf(values[place])], across - half, down - half,
          sprites.across, sprites.across);
      }
      if (chosen >= 0) {
        pen.beginPath();
        pen.arc(column(chosen), row(chosen), size + 3, 0, POINT);
        pen.strokeStyle = colours.ink;
        pen.lineWidth = 2;
        pen.stroke();
      }
      placeTip();
    };
    const redraw = () => {
      if (!waiting) requestAnimationFrame(paint);
      waiting = true;
    };

    const fillTip = (place) => {
      tip.replaceChildren();
      make("strong", data.names[place] || data.ids[place], make("p", "", tip));
      const known = [`id ${data.ids[place]}`, data.provider.labels[provider[place]],
        data.country.labels[country[place]]].filter(Boolean);
      make("p", known.join(" · "), tip, "from");
      const table = make("table", "", tip);
      const head = make("tr", "", make("thead", "", table));
      for (const text of ["", "n", ...data.metrics.map((one) => one.label)]) make("th", text, head, text && "number");
      const body = make("tbody", "", table);
      data.products.forEach((name, index) => {
        const line = make("tr", "", body, index === product() ? "chosen" : "");
        make("th", name, line);
        make("td", number(scores[index].n[place], 0), line, "number");
        for (const one of data.metrics) {
          make("td", number(scores[index][one.key][place], one.decimals), line, "number");
        }
      });
    };
    const placeTip = () => {
      tip.hidden = chosen < 0;
      if (chosen < 0) return;
      const [across, down] = [column(chosen), row(chosen)];
      const gap = radius() + 8;
      const above = down - gap - tip.offsetHeight;
      tip.style.left = `${within(across - tip.offsetWidth / 2, 4, Math.max(4, view.width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${above >= 4 ? above : within(down + gap, 4, Math.max(4, view.height - tip.offsetHeight - 4))}px`;
    };
    const choose = (place) => {
      if (place !== chosen && place >= 0) fillTip(place);
      if (place !== chosen) redraw();
      chosen = place;
    };
    const nearest = (across, down, reach) => {
      let [best, least] = [-1, reach * reach];
      for (let place = 0; place < count; place += 1) {
        const distance = (column(place) - across) ** 2 + (row(place) - down) ** 2;
        if (distance <= least) [best, least] = [place, distance];
      }
      return best;
    };

    const keepInside = () => {
      view.scale = within(view.scale, view.whole * 0.7, view.whole * 3000);
      view.x = within(view.x, west, east);
      view.y = within(view.y, bottom, top);
      redraw();
    };
    const zoom = (factor, across = view.width / 2, down = view.height / 2) => {
      const before = view.scale;
      view.scale = within(view.scale * factor, view.whole * 0.7, view.whole * 3000);
      view.x += (across - view.width / 2) * (1 / before - 1 / view.scale);
      view.y -= (down - view.height / 2) * (1 / before - 1 / view.scale);
      keepInside();
    };
    const move = (across, down) => {
      view.x -= across / view.scale;
      view.y += down / view.scale;
      keepInside();
    };
    const bounds = (values) => values.reduce(([low, high], value) =>
      [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const showAll = () => {
      const [left, right] = bounds(x);
      const [low, high] = bounds(y);
      const least = (view.width < 500 ? 0.88 : 0.9);
      view.whole = Math.min((view.width * least) / Math.max(right - left, 0.5),
        (view.height * least) / Math.max(high - low, 0.5));
      Object.assign(view, { x: (left + right) / 2, y: (low + high) / 2, scale: view.whole });
      keepInside();
    };

    const step = (way) => {
      const inside = Array.from(x.keys()).filter((place) => column(place) >= 0
        && column(place) <= view.width && row(place) >= 0 && row(place) <= view.height)
        .sort((one, other) => x[one] - x[other] || y[one] - y[other]);
      if (!inside.length) return;
      const at = inside.indexOf(chosen);
      const next = at < 0 ? (way > 0 ? 0 : inside.length - 1) : (at + way + inside.length) % inside.length;
      choose(inside[next]);
      const parts = data.metrics.map((one) =>
        `${one.label} ${number(scores[product()][one.key][chosen], one.decimals)}`);
      find(".map-said").textContent = [data.names[chosen] || data.ids[chosen],
        data.country.labels[country[chosen]], `${data.products[product()]}: ${parts.join(", ")}`]
        .filter(Boolean).join(", ");
    };
    const keys = {
      ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0),
      ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": showAll,
      n: () => step(1), p: () => step(-1), Escape: () => choose(-1),
    };
    canvas.addEventListener("keydown", (event) => {
      const act = keys[event.key] || keys[event.key.toLowerCase()];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });

    const fingers = new Map();
    let travelled = 0;
    const spot = (event) => {
      const frame = canvas.getBoundingClientRect();
      return [event.clientX - frame.left, event.clientY - frame.top];
    };
    const apart = () => {
      const [one, other] = fingers.values();
      return [Math.hypot(one[0] - other[0], one[1] - other[1]),
        (one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, spot(event));
      travelled = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const [across, down] = spot(event);
      if (!fingers.has(event.pointerId)) {
        const place = nearest(across, down, radius() + 4);
        canvas.classList.toggle("over", place >= 0);
        choose(place);
        return;
      }
      const before = fingers.size === 2 ? apart() : null;
      const [oldAcross, oldDown] = fingers.get(event.pointerId);
      fingers.set(event.pointerId, [across, down]);
      travelled += Math.hypot(across - oldAcross, down - oldDown);
      canvas.classList.add("moving");
      if (before) {
        const [distance, middleAcross, middleDown] = apart();
        move(middleAcross - before[1], middleDown - before[2]);
        zoom(distance / Math.max(before[0], 1), middleAcross, middleDown);
      } else {
        move(across - oldAcross, down - oldDown);
      }
    });
    const lift = (event) => {
      if (!fingers.delete(event.pointerId)) return;
      canvas.classList.remove("moving");
      // A tap, not a drag; a finger is less exact than a mouse.
      const reach = radius() + (event.pointerType === "mouse" ? 4 : 14);
      if (event.type === "pointerup" && travelled < 6) choose(nearest(...spot(event), reach));
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !fingers.size) choose(-1);
    });
    canvas.addEventListener("blur", () => choose(-1));
    canvas.addEventListener("dblclick", (event) => zoom(2, ...spot(event)));
    let hinted = 0;
    canvas.addEventListener("wheel", (event) => {
      // The page must scroll past a map that nobody has touched.
      if (document.activeElement !== canvas && !event.ctrlKey) {
        hint.hidden = false;
        clearTimeout(hinted);
        hinted = setTimeout(() => { hint.hidden = true; }, 1500);
        return;
      }
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 30 : 1;
      zoom(Math.exp(within(-event.deltaY * lines, -300, 300) * 0.002), ...spot(event));
    }, { passive: false });
    const acts = { in: () => zoom(1.8), out: () => zoom(1 / 1.8), all: showAll };
    for (const button of root.querySelectorAll(".map-buttons button")) {
      button.addEventListener("click", acts[button.dataset.act]);
    }

    const legend = () => {
      const one = metric();
      const [low, high] = one.range;
      const unit = one.unit ? ` ${one.unit}` : "";
      const stops = one.falling ? [...data.colours].reverse() : data.colours;
      const bar = find(".map-colours");
      bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      bar.setAttribute("aria-label", `Colours of ${one.label} from ${low} to ${high}${unit}`);
      find(".map-low").textContent = `${one.label} ≤ ${number(low, one.decimals)}`;
      find(".map-high").textContent = `≥ ${number(high, one.decimals)}${unit}`;
      find(".map-open").hidden = !shown().some(Number.isNaN);
      if (chosen >= 0) fillTip(chosen);
      redraw();
    };
    find(".map-product").addEventListener("change", legend);
    find(".map-metric").addEventListener("change", legend);
    const dress = () => {
      const style = getComputedStyle(root);
      colours = Object.fromEntries(["ink", "muted", "line", "surface"].map((name) =>
        [name, style.getPropertyValue(`--${name}`).trim() || "#808080"]));
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      colours.edge = dark ? "rgb(255 255 255 / .55)" : "rgb(0 0 0 / .6)";
      sprites = null;
      redraw();
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
    const fit = () => {
      const untouched = view.scale === view.whole;
      view.width = Math.max(canvas.clientWidth, 50);
      view.height = Math.max(canvas.clientHeight, 50);
      view.ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(view.width * view.ratio);
      canvas.height = Math.round(view.height * view.ratio);
      if (untouched) showAll();
      // At once: a canvas is empty after its size has changed.
      paint();
    };
    dress();
    legend();
    fit();
    new ResizeObserver(fit).observe(canvas);
  };
  for (const root of document.querySelectorAll(".station-map")) start(root);
})();
