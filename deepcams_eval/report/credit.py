"""Whom the data behind a report are owed to."""

from __future__ import annotations

from collections.abc import Iterable

from deepcams_eval.report.content import SYNTHETIC, Content
from deepcams_eval.report.style import Credit

_EAC4 = "Contains modified Copernicus Atmosphere Monitoring Service information{years} (EAC4)"
_OWNERS = {
    "openaq": (
        "Observations: OpenAQ (openaq.org) and the providers of its data{providers}.",
        "OpenAQ and its providers",
    ),
    "copernicus": (
        f"{_EAC4}; neither the European Commission nor ECMWF is responsible for any use of it.",
        _EAC4,
    ),
    "geoscf": (
        "GEOS-CF: NASA Global Modeling and Assimilation Office (GMAO).",
        "NASA GMAO GEOS-CF",
    ),
    "deepcams": (
        "DeepCAMS: Xiao et al. 2022, doi:10.5281/zenodo.6381600.",
        "DeepCAMS (Xiao et al. 2022)",
    ),
}
"""What the page says of each owner, and the words for the foot of a figure."""

_OF_KIND = {
    "cams": ("copernicus",),
    "geoscf": ("geoscf",),
    "deepcams": ("copernicus", "deepcams"),
}
_GENERATED = f"{SYNTHETIC} data, generated: no measurement and no product of any service"
_OTHER = "the files named in run.json, owed to whoever provides them"
_MANY = 12


def line(content: Content) -> Credit:
    """Return what stands at the foot of every figure of a validation."""
    if content.synthetic:
        return Credit(f"Data: {_GENERATED}.", True)
    parts = _said({"openaq", *_owners(_kinds(content))}, 1, years=_years(content))
    return Credit(f"Data: {'. '.join(parts)}.", False)


def attributions(content: Content) -> list[str]:
    """Return the sentences that the owners of the data ask for."""
    if content.synthetic:
        return [f"{_GENERATED}."]
    owners = {"openaq", *_owners(_kinds(content))}
    return _said(owners, 0, years=_years(content), providers=_providers(content))


def truth_line(kind: str, *, synthetic: bool) -> Credit:
    """Return what stands at the foot of every figure of a simulation.

    Parameters
    ----------
    kind : str
        What the truth is: ``geoscf``, ``cams``, ``deepcams`` or anything else.
    synthetic : bool
        Whether it was generated.
    """
    said = _GENERATED if synthetic else ". ".join(_said(_owners([kind]), 1)) or _OTHER
    return Credit(f"Data: {said}.", synthetic)


def truth_attributions(kind: str, *, synthetic: bool) -> list[str]:
    """Return the sentences that the owners of the truth of a simulation ask for.

    Parameters
    ----------
    kind, synthetic
        As in `truth_line`.
    """
    if synthetic:
        return [f"{_GENERATED}."]
    return _said(_owners([kind]), 0) or [f"Truth: {_OTHER}."]


def _owners(kinds: Iterable[str]) -> set[str]:
    return {owner for kind in kinds for owner in _OF_KIND.get(kind, ())}


def _said(owners: set[str], form: int, *, years: str = "", providers: str = "") -> list[str]:
    said = [forms[form] for owner, forms in _OWNERS.items() if owner in owners]
    return [one.format(years=years, providers=providers) for one in said]


def _kinds(content: Content) -> set[str]:
    """Return the kinds of the products; all of them where the run does not say."""
    known = content.run.get("products")
    if not isinstance(known, dict) or not known:
        return set(_OF_KIND)
    return {
        str(entry.get("kind", "generic")) for entry in known.values() if isinstance(entry, dict)
    }


def _years(content: Content) -> str:
    if not content.years:
        return ""
    first, last = content.years[0], content.years[-1]
    return f" {first}" if first == last else f" {first}–{last}"


def _providers(content: Content) -> str:
    names = sorted({str(name) for name in content.stations["provider"].dropna() if str(name)})
    if not names:
        return ""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f": {', '.join(names[:_MANY])}{more}"
