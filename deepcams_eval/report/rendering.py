"""The templates of the pages."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from deepcams_eval.report import wording


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
