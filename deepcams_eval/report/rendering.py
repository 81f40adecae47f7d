"""What all pages share: their templates, images, and where everything comes from."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from deepcams_eval.report import published, wording
from deepcams_eval.report.content import SYNTHETIC
from deepcams_eval.report.style import Picture

MAX_IMAGE_BYTES = 3_600_000
"""Bytes of images on the page (base64 adds a third); the others are named, not shown."""

_MAX_INPUTS = 200


def template(name: str) -> Template:
    """Return a template of the folder ``templates``; a name that it lacks is an error there."""
    environment = Environment(
        loader=PackageLoader("deepcams_eval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typographic"] = wording.typographic
    return environment.get_template(name)


def render(
    name: str,
    *,
    title: str,
    run: Mapping[str, Any],
    contents: Sequence[tuple[str, str | None]],
    asked: Sequence[tuple[str, str]],
    notes: Sequence[str],
    attributions: Sequence[str],
    pictures: Sequence[Picture],
    folder: Path,
    synthetic: bool,
    room: int = MAX_IMAGE_BYTES,
    definitions: Sequence[tuple[str, str]] = (),
    **own: Any,
) -> str:
    """Return a page that needs no other file and no network.

    Parameters
    ----------
    name : str
        Of the template, which extends ``base.html.j2``.
    title : str
        Heading, and title of the window.
    run : mapping
        The content of ``run.json``.
    contents : sequence of (str, str or None)
        Names of the parts and their addresses on the page; None is left out.
    asked : sequence of (str, str)
        What was asked besides the command.
    notes, attributions : sequence of str
        Assumptions and omissions, and what the owners of the data ask for.
    pictures : sequence of Picture
        The figures in order, whose images lie in ``figures`` of `folder`.
    folder : Path
        Where the page will lie.
    synthetic : bool
        Whether the data are generated, which the page then says.
    room : int
        Bytes of images; see `embed`.
    definitions : sequence of (str, str)
        Terms and what they mean; none is no such part.
    **own
        What the template needs besides.
    """
    images = embed(pictures, folder / "figures", room)
    inputs, more = input_rows(run)
    command = run.get("command", "")
    command = command if isinstance(command, str) else " ".join(map(str, command))
    return template(name).render(
        title=title,
        mark=f"{SYNTHETIC} data" if synthetic else "",
        contents=contents,
        asked=[("Command", command), *asked],
        notes=notes,
        pictures=[item for item in pictures if item.name in images],
        images=images,
        unshown=[item.name for item in pictures if item.name not in images],
        provenance=list(provenance_rows(run)),
        inputs=inputs,
        more_inputs=more,
        attributions=attributions,
        definitions=definitions,
        doi=published.DOI,
        **own,
    )


def embed(pictures: Sequence[Picture], folder: Path, room: int = MAX_IMAGE_BYTES) -> dict[str, str]:
    """Return the data URI of each picture that fits, by name.

    Twelve panels are large and repeat the scatter of their year in finer detail, so they are the
    first to be left out.

    Parameters
    ----------
    pictures : sequence of Picture
        All of them; in doubt the earlier ones are kept.
    folder : Path
        Where the images lie.
    room : int
        Bytes of image files in all.
    """
    images = {}
    for item in sorted(pictures, key=lambda item: item.kind == "scatter_months"):
        image = (folder / f"{item.name}.png").read_bytes()
        if len(image) <= room:
            room -= len(image)
            images[item.name] = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
    return images


def provenance_rows(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what ``run.json`` says, but for inputs and command."""
    for key, value in run.items():
        if key == "wall_time_s":
            yield "wall time", wording.duration(float(value))
        elif key == "peak_rss_bytes":
            yield "peak memory", wording.size(float(value))
        elif isinstance(value, dict):
            inner = ", ".join(f"{name}: {_flat(one)}" for name, one in value.items())
            yield wording.plain_name(key), inner
        elif key not in ("inputs", "command"):
            yield wording.plain_name(key), _flat(value)


def _flat(value: Any) -> str:
    if value is None:
        return wording.DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def input_rows(run: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], int]:
    """Return path, size and SHA-256 of the first input files, and how many more there are."""
    entries = [entry for entry in run.get("inputs", ()) if isinstance(entry, Mapping)]
    shown = [
        (
            str(entry.get("path", ""))
            + (f" ({entry['files']:,} files)" if "files" in entry else ""),
            wording.size(float(entry["bytes"])) if entry.get("bytes") is not None else "",
            str(entry.get("sha256") or wording.DASH),
        )
        for entry in entries[:_MAX_INPUTS]
    ]
    return shown, len(entries) - len(shown)
