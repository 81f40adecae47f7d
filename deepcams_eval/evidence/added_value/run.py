"""From pairs to evidence: every table on added value, and the verdicts drawn from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.evidence.added_value import comparisons, cycles, within_cell
from deepcams_eval.evidence.added_value.references import Grid
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.evidence.added_value.verdicts import verdicts
from deepcams_eval.report.evidence import Evidence

NAME = "added_value"


def added_value(
    pairs: Pairs,
    *,
    parent: str,
    references: Mapping[str, str],
    grids: Mapping[str, Grid],
    seed: int,
    resamples: int = 1000,
) -> Evidence | None:
    """Return the evidence on what the finer products add to their parent.

    Parameters
    ----------
    pairs : Pairs
        At least one row; its table also holds the columns of the references.
    parent : str
        The coarse product, by default the baseline of the run.
    references : mapping of str to str
        Column of each reference, by its name such as ``linear+bicubic:cams``.
    grids : mapping of str to Grid
        Of every product.
    seed, resamples : int
        Of the bootstrap; stations are drawn as for ``scores.csv`` with the same seed.

    Returns
    -------
    Evidence or None
        Frames ``added_value`` (`comparisons.compare`), ``within_cell``
        (`within_cell.within_cells`), ``diurnal``, ``diurnal_cycle``, ``spectra`` (`cycles`) and
        ``verdicts`` (`verdicts.verdicts`). None where no product is finer than the parent.
    """
    sample = Sample.of(
        pairs,
        parent=parent,
        references=references,
        grids=grids,
        rng=np.random.default_rng(seed),
        resamples=resamples,
    )
    if not sample.fine:
        return None
    compared = comparisons.compare(sample)
    within = within_cell.within_cells(sample, rng=np.random.default_rng([seed, 1]))
    diurnal = cycles.diurnal(sample)
    spectra = cycles.spectra(sample)
    frames = {
        "added_value": compared,
        "within_cell": within,
        "diurnal": diurnal,
        "diurnal_cycle": cycles.diurnal_curves(sample),
        "spectra": spectra,
        "verdicts": verdicts(
            compared,
            within,
            diurnal,
            spectra,
            parent=parent,
            min_cells=within_cell.MIN_CELLS,
            band=cycles.SHORTEST_BAND,
        ),
    }
    return Evidence(NAME, frames)
