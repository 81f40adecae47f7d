"""Did downscaling add anything: a finer product beside the coarse one that it was made from.

The coarse product, the parent, is compared at the hours that it has, the analysis hours; at all
hours its linear interpolation in time, and that with a bicubic one in space, are what anybody gets
for nothing.
"""

from __future__ import annotations

from deepcams_eval.evidence.added_value import (
    differences,
    diurnal,
    information,
    spectra,
    verdicts,
    within_cell,
)
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.evidence.questions import Frames, Given, Question
from deepcams_eval.report.content import Content
from deepcams_eval.report.evidence import Section

_REMARKS = (
    "Damping, smoothing and recalibration lower the mean error of nearly any estimate without "
    "knowing anything new. A product is therefore called better only where its score is better, "
    "where it knows of the observations what nothing made of the coarse product knows (partial R "
    f"above {information.LEAST_INFORMATION:g}), and where its error is still lower when both are "
    "smoothed and recalibrated as well as can be; it is called smoother where only the score is "
    "better. All verdicts of a product together are wrong with at most 2.5 % on each side (Holm).",
    "Analysis hours are those that the coarse product has itself, interpolated hours the others. "
    "linear:… interpolates it in time, linear+bicubic:… in space too; both cost nothing, so what "
    "does not beat them adds nothing. Stations are left out in turn, and boxes of 300 km, of which "
    "the wider interval counts; within cells, whole cells are.",
    "Classes by the observed value are a selection: high observations are partly chance, so among "
    "them the product with the higher values is favoured, and among low ones that with the lower. "
    "Classes by the mean of product and reference favour neither.",
    "Variance within a cell, or at short periods, is no merit by itself, since noise has it too; "
    "what counts is the correlation. That of the stations includes their errors of measurement "
    "and what is smaller than the fine cells.",
)


def answer(given: Given) -> Frames | None:
    """Return what the finer products add to their parent, the baseline.

    Returns
    -------
    mapping of str to pandas.DataFrame, or None
        ``information`` (`information.information`), ``added_value`` (`differences.compare`),
        ``within_cell`` (`within_cell.within_cells`),
        ``diurnal`` and ``diurnal_cycle`` (`diurnal`), ``spectra`` (`spectra.spectra`) and
        ``verdicts`` (`verdicts.verdicts`). None where no product is finer than the parent, or no
        grid is known.
    """
    if not given.grids:
        return None
    sample = Sample.of(given)
    if not sample.fine:
        return None
    frames = {
        "information": information.information(sample),
        "added_value": differences.compare(sample),
        "within_cell": within_cell.within_cells(sample),
        "diurnal": diurnal.diurnal(sample),
        "diurnal_cycle": diurnal.diurnal_curves(sample),
        "spectra": spectra.spectra(sample),
    }
    return {**frames, "verdicts": verdicts.verdicts(frames, given.baseline)}


def section(frames: Frames, content: Content) -> Section:
    """Return the section of the page that shows verdicts, tables and figures."""
    drawn = (
        (differences, "added_value", frames["added_value"]["d_mae_lo"].notna().any()),
        (within_cell, "within_cell", frames["within_cell"]["r"].notna().any()),
        (diurnal, "diurnal_cycle", len(frames["diurnal_cycle"])),
        (spectra, "spectra", len(frames["spectra"])),
    )
    return Section(
        name="added_value",
        label="Added value",
        title="Did downscaling add anything?",
        sentences=tuple(frames["verdicts"]["sentence"])
        or ("No product and reference have a pair in common, so there is no verdict.",),
        remarks=_REMARKS,
        tables=(
            verdicts.table(frames["verdicts"]),
            information.table(frames["information"]),
            differences.table(frames["added_value"]),
            within_cell.table(frames["within_cell"]),
            diurnal.table(frames["diurnal"]),
            spectra.table(frames["spectra"]),
        ),
        drawings=tuple(one.draw(frames[name], content) for one, name, there in drawn if there),
    )


QUESTION = Question("added_value", 10, answer, section)
