"""What pages and figures of every report must be, whatever they show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.addresses += [given[key] or "" for key in ("src", "href", "action") if key in given]
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "img" and "src" in given:
            assert given["alt"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def images_of_page(text: str) -> int:
    """Check that a page is well formed and needs nothing else; return the number of images."""
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    for address in checker.addresses:
        assert address.startswith(("data:", "#"))
        assert not address.startswith("#") or address[1:] in checker.ids
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", text)
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    return sum(address.startswith("data:image/png") for address in checker.addresses)


def check_steps(steps: list[tuple[int, int]], written: list[Path], folder: Path) -> None:
    """Check that progress counts every piece, and that every file is told."""
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total in steps} == {len(steps)}


def check_synthetic(folder: Path) -> int:
    """Check that every table, caption and the title say SYNTHETIC; return the captions."""
    for path in (folder / "tables").iterdir():
        assert "SYNTHETIC" in path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            assert set(pd.read_csv(path)["data"]) == {"SYNTHETIC"}
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "SYNTHETIC" in text.split("<body>")[0]
    captions = re.findall(r"<caption>.*?</caption>", text, re.DOTALL)
    assert all("SYNTHETIC" in caption for caption in captions)
    return len(captions)


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(Text))
