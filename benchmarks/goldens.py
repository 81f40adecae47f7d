"""What a user gets, frozen: every table, page and figure of the roads, from two states of the code.

    python benchmarks/goldens.py write FOLDER [--roads openaq,score,simulation,paper,audit] [--full]
    python benchmarks/goldens.py compare BEFORE AFTER

Run `write` with the code before a change and after it, then `compare`. Each road runs on the
synthetic archive (made once, cached), in a process of its own. Tables are kept as CSV (Parquet with
its types and metadata), ``run.json`` without time, memory, commit and paths, pages as their text,
tables and links, figures as a hash of their pixels. Numbers are equal within a relative 1e-9. The
default runs parts of the archive in about five minutes on 2 cores; ``--full`` runs the commands of
the README.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import image

from deepcams_eval.demo import demo_archive

ROADS = ("openaq", "score", "simulation", "paper", "audit")
_DROPPED = {"wall_time_s", "peak_rss_bytes", "commit", "versions", "device", "command", "seconds"}
_SILENT = {"style", "script", "svg"}
_TOLERANCE = 1e-9
_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")


def main() -> int:
    """Write the goldens, or compare two sets of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="task", required=True)
    write = commands.add_parser("write")
    write.add_argument("folder", type=Path)
    write.add_argument("--roads", default=",".join(ROADS))
    write.add_argument("--full", action="store_true")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    asked = parser.parse_args()
    if asked.task == "write":
        freeze(asked.folder, asked.roads.split(","), full=asked.full)
        return 0
    differences = list(compared(asked.before, asked.after))
    print("\n".join(differences) or "goldens equal")
    return 1 if differences else 0


def freeze(folder: Path, roads: list[str], *, full: bool) -> None:
    """Run each road and keep what it left behind in a form that can be compared."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for road, arguments in commands_of(Path(place), full=full).items():
            if not {road, road.split("-")[0]} & set(roads) and not (
                road == "openaq" and "score" in roads
            ):
                continue
            program, *rest = arguments
            module = "bench" if program == "deepcams-bench" else "evaluate"
            code = f"from deepcams_eval.cli.{module} import main; main()"
            out = Path(place) / road
            done = subprocess.run(
                [sys.executable, "-c", code, *rest, "--out", str(out)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{road}: exit {done.returncode}\n{done.stderr}")
            kept = folder / road
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            (kept / "stdout.txt").write_text(without_paths(done.stdout, place))
            for path in sorted(path for path in out.rglob("*") if path.is_file()):
                keep(path, kept / path.relative_to(out), place)
            print(f"{road}: {sum(1 for _ in kept.rglob('*.*'))} files", flush=True)


def commands_of(place: Path, *, full: bool) -> dict[str, list[str]]:
    """Return the command of each road, in the order in which they must run."""
    whole = ["deepcams-eval", "openaq", "--years", "2017-2019", "--data", "demo"]
    year = ["deepcams-bench", "simulation", "--year", "2020", "--data", "demo"]
    paper = ["deepcams-eval", "paper", "--data", "demo"]
    if not full:
        days = few_days(place / "days")
        year = [*year[:4], "--truth", str(days), "--train-years", "2019"]
        paper += ["--methods", "linear,bicubic"]
    few = [*year, "--weights", "area", "--degrade", "node", "--task", "temporal"]
    pairs = str(place / "openaq")
    daily = [*whole[:4], "--data", "demo", "--average", "day", "--sample", "own", "--countries"]
    return {
        "openaq": whole,
        "openaq-daily": [*daily, "BE,FR,DE", "--no-sensitivity"],
        "score": ["deepcams-eval", "score", pairs],
        "simulation": year,
        "simulation-node": [*few, "--methods", "nearest,linear,linear-eq9,pchip,dis"],
        "paper": paper,
        "audit": ["deepcams-bench", "audit"],
    }


def few_days(folder: Path) -> Path:
    """Link the hours of some days of the archive, so that a simulation takes a minute."""
    folder.mkdir(parents=True)
    for path in sorted((demo_archive() / "geoscf").iterdir()):
        stamp = path.name.split(".")[-2]
        if stamp[:6] in {"201901", "202001", "202002", "202003"} or stamp.startswith("20200401"):
            (folder / path.name).symlink_to(path)
    return folder


def keep(path: Path, target: Path, place: str) -> None:
    """Keep one file of a report."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        pixels = (image.imread(path) * 255).round().astype(np.uint8)
        target.write_text(f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}\n")
    elif path.suffix == ".pdf":
        target.write_text("there\n")
    elif path.suffix == ".parquet":
        table = pd.read_parquet(path)
        said = {"types": table.dtypes.astype(str).to_dict(), "attrs": table.attrs}
        text = json.dumps(said, indent=1, default=str)
        target.with_suffix(".parquet.json").write_text(without_paths(text, place))
        table.to_csv(target.with_suffix(".parquet.csv"), index=False)
    elif path.suffix == ".json":
        text = json.dumps(_reduced(json.loads(path.read_text("utf-8"))), indent=1, sort_keys=True)
        target.write_text(without_paths(text, place))
    elif path.suffix == ".html":
        page = Page()
        page.feed(path.read_text("utf-8"))
        text = "\n".join(page.lines)
        text = re.sub(r"\d+(\.\d+)? (s|min|GB|MB|minutes|seconds)\b", "TIME", text)
        text = re.sub(r"\b[0-9a-f]{7,40}\b", "HASH", text)
        target.with_suffix(".html.txt").write_text(without_paths(text, place))
    else:
        target.write_text(without_paths(path.read_text("utf-8"), place))


def without_paths(text: str, place: str) -> str:
    """Return a text without what differs from run to run: temporary folders."""
    return text.replace(place, "PLACE")


def _reduced(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reduced(one) for key, one in value.items() if key not in _DROPPED}
    return [_reduced(one) for one in value] if isinstance(value, list) else value


class Page(HTMLParser):
    """The text of a page, a line an element, with the targets of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads and what an image stands for."""
        self._silent += tag in _SILENT
        said = dict(attrs)
        for name in ("href", "id", "alt"):
            value = said.get(name)
            if value and not value.startswith("data:"):
                self.lines.append(f"[{tag} {name} {value}]")

    def handle_endtag(self, tag: str) -> None:
        """Leave a style or script."""
        self._silent -= tag in _SILENT

    def handle_data(self, data: str) -> None:
        """Keep visible text."""
        text = " ".join(data.split())
        if text and not self._silent:
            self.lines.append(text)


def compared(before: Path, after: Path) -> list[str]:
    """Return a line for each file that differs, with the first place where it does."""
    names = {path.relative_to(root) for root in (before, after) for path in root.rglob("*.*")}
    lines = []
    for name in sorted(names):
        one, other = before / name, after / name
        if one.is_dir() or other.is_dir():
            continue
        if not one.exists() or not other.exists():
            lines.append(f"{name}: only {'after' if other.exists() else 'before'}")
            continue
        first, second = one.read_text("utf-8"), other.read_text("utf-8")
        if first == second:
            continue
        left, right = first.splitlines(), second.splitlines()
        separator = "," if name.suffix == ".csv" else None
        apart = [
            number
            for number, (a, b) in enumerate(zip(left, right, strict=False), start=1)
            if a != b and not _same(a, b, separator)
        ]
        if len(left) != len(right):
            lines.append(f"{name}: {len(left)} and {len(right)} lines")
        if apart:
            at = apart[0] - 1
            lines.append(f"{name}: {len(apart)} lines, first {apart[0]}:")
            lines += [f"    - {left[at][:300]}", f"    + {right[at][:300]}"]
    return lines


def _same(left: str, right: str, separator: str | None) -> bool:
    """Whether two lines are equal but for the last digits of their numbers."""
    one, other = left.split(separator), right.split(separator)
    return len(one) == len(other) and all(
        a == b
        or (
            bool(_NUMBER.match(a))
            and bool(_NUMBER.match(b))
            and math.isclose(float(a), float(b), rel_tol=_TOLERANCE, abs_tol=1e-12)
        )
        for a, b in zip(one, other, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
