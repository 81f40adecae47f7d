"""Whom the data behind a report are owed to."""

from __future__ import annotations

from collections.abc import Sequence

from deepcams_eval.report.content import SYNTHETIC, Content

_COPERNICUS = (
    "Contains modified Copernicus Atmosphere Monitoring Service information{years} (EAC4); neither "
    "the European Commission nor ECMWF is responsible for any use of it."
)
_COPERNICUS_SHORT = (
    "Contains modified Copernicus Atmosphere Monitoring Service information{years} (EAC4)"
)
_GEOS_CF = "GEOS-CF: NASA Global Modeling and Assimilation Office (GMAO)."
_GEOS_CF_SHORT = "NASA GMAO GEOS-CF"
_DEEPCAMS = "DeepCAMS: Xiao et al. 2022, doi:10.5281/zenodo.6381600."
_DEEPCAMS_SHORT = "DeepCAMS (Xiao et al. 2022)"
_OPENAQ = "Observations: OpenAQ (openaq.org) and the providers of its data{providers}."
_OPENAQ_SHORT = "OpenAQ and its providers"
_SYNTHETIC = f"{SYNTHETIC} data, generated: no measurement and no product of any service"
_OTHER = "the files named in run.json, owed to whoever provides them"
_MANY = 12


def source_line(content: Content) -> str:
    """Return the one line that stands at the foot of every figure."""
    if content.synthetic:
        return f"Data: {_SYNTHETIC}."
    kinds = _kinds(content)
    parts = [_OPENAQ_SHORT]
    if kinds & {"cams", "deepcams"}:
        parts.append(_COPERNICUS_SHORT.format(years=_years(content)))
    if "geoscf" in kinds:
        parts.append(_GEOS_CF_SHORT)
    if "deepcams" in kinds:
        parts.append(_DEEPCAMS_SHORT)
    return f"Data: {'. '.join(parts)}."


def attributions(content: Content) -> list[str]:
    """Return the sentences that the owners of the data ask for."""
    if content.synthetic:
        return [f"{_SYNTHETIC}."]
    kinds = _kinds(content)
    lines = [_OPENAQ.format(providers=_providers(content))]
    if kinds & {"cams", "deepcams"}:
        lines.append(_COPERNICUS.format(years=_years(content)))
    if "geoscf" in kinds:
        lines.append(_GEOS_CF)
    if "deepcams" in kinds:
        lines.append(_DEEPCAMS)
    return lines


def truth_source_line(kind: str, *, synthetic: bool) -> str:
    """Return the line at the foot of every figure of a simulation.

    Parameters
    ----------
    kind : str
        What the truth is: ``geoscf``, ``cams``, ``deepcams`` or anything else.
    synthetic : bool
        Whether it was generated.
    """
    if synthetic:
        return f"Data: {_SYNTHETIC}."
    known = {
        "geoscf": _GEOS_CF_SHORT,
        "cams": _COPERNICUS_SHORT.format(years=""),
        "deepcams": f"{_COPERNICUS_SHORT.format(years='')}. {_DEEPCAMS_SHORT}",
    }
    return f"Data: {known.get(kind, _OTHER)}."


def truth_attributions(kind: str, *, synthetic: bool) -> list[str]:
    """Return the sentences that the owners of the truth of a simulation ask for.

    Parameters
    ----------
    kind, synthetic
        As in `truth_source_line`.
    """
    if synthetic:
        return [f"{_SYNTHETIC}."]
    known = {
        "geoscf": [_GEOS_CF],
        "cams": [_COPERNICUS.format(years="")],
        "deepcams": [_COPERNICUS.format(years=""), _DEEPCAMS],
    }
    return known.get(kind, [f"Truth: {_OTHER}."])


def _kinds(content: Content) -> set[str]:
    """Return the kinds of the products; all of them where the run does not say."""
    known = content.run.get("products")
    if not isinstance(known, dict) or not known:
        return {"cams", "geoscf", "deepcams"}
    return {
        str(entry.get("kind", "generic")) for entry in known.values() if isinstance(entry, dict)
    }


def _years(content: Content) -> str:
    if not content.years:
        return ""
    first, last = content.years[0], content.years[-1]
    return f" {first}" if first == last else f" {first}–{last}"


def _providers(content: Content) -> str:
    names: Sequence[str] = sorted(
        {str(name) for name in content.stations["provider"].dropna() if str(name)}
    )
    if not names:
        return ""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f": {', '.join(names[:_MANY])}{more}"
