"""From the samples of a simulation to its tables: months and summaries.

A sample is one method at one hour with one weighting, as `FrameScorer` gives it, with the columns
``task``, ``method``, ``hour_start`` (datetime64, the beginning of its hour, to whose month and day
it belongs) and ``hours`` ("kept" for the hours of the 3-hourly input, "inserted" for those
between). It counts where its RMSE is finite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deepcams_eval.core.arrays import Array
from deepcams_eval.downscale import Task
from deepcams_eval.errors import NoDataError
from deepcams_eval.report import published
from deepcams_eval.score import metrics
from deepcams_eval.score.moments import Moments

TABLE_SCORES = published.SCORES
"""Scores of Tables 2 and 3, in their order."""

TASK_NAMES: Mapping[str, str] = {
    "temporal": "Downscaling in time",
    "spatial": "Downscaling in space",
    "joint": "Downscaling in time and space",
}
"""Every task in the order of the report, in words."""

SUMMARY_SCORES = (*TABLE_SCORES, "mb", "p99_error")
ALL_HOURS = "all"
HOUR_CLASSES = (ALL_HOURS, "kept", "inserted")
AVERAGE = "average"

SPLIT_BY_HOURS = "joint"
"""The task whose tables tell the two classes of hours apart."""


def common(samples: pd.DataFrame) -> pd.DataFrame:
    """Keep, in each task, the hours for which every method of the task has a score.

    An hour that a method has no row for counts like one without a finite RMSE. The rows kept are
    in their order, with a new index.
    """
    keep = np.zeros(len(samples), dtype=bool)
    task_of = samples["task"].to_numpy()
    for task in names_in(samples["task"]):
        rows = np.flatnonzero(task_of == task)
        part = samples.iloc[rows]
        # Of the two weightings of an hour both stay, or neither.
        finite = by_hour(part, "rmse", ["method", "weights"]).notna().all(axis=1)
        keep[rows] = part["hour_start"].isin(finite.index[finite]).to_numpy()
    return samples[keep].reset_index(drop=True)


def require_common(
    names: Mapping[Task, tuple[str, ...]], common: pd.DataFrame, samples: pd.DataFrame
) -> None:
    """Refuse a task without an hour that all its methods have, naming the one with fewest."""
    for task in names:
        if (common["task"] == task).any():
            continue
        of_task = samples[samples["task"] == task]
        if not of_task["cells_truth"].any():
            raise NoDataError(
                f"the truth has no value in any hour of the {task} task",
                hint="check the truth, or leave the task out with --task",
            )
        valued = of_task[of_task["cells_missing"] < of_task["cells_truth"]]
        hours = valued.groupby("method")["hour_start"].nunique()
        hours = hours.reindex(list(names[task]), fill_value=0)
        raise NoDataError(
            f"no cell of any hour has a value of every {task} method; {hours.idxmin()!r} has"
            f" {hours.min()} hours with a value",
            hint="check its times and the gaps of the truth, or leave it out",
        )


def month_table(
    samples: pd.DataFrame,
    task: str,
    methods: Sequence[str],
    weights: str,
    year: int,
    published: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the scores of each month and their average, laid out as Tables 2 and 3.

    The score of a month is the mean of the scores of its samples, and the average the mean of
    the months, which is how the paper defines them. A sample whose R is undefined (a constant
    map) counts in n, but not in the mean of R.

    Parameters
    ----------
    samples : pandas.DataFrame
        All methods on the same hours, as from `common`.
    task : str
        ``temporal``, ``spatial`` or ``joint``.
    methods : sequence of str
        In the order of the columns.
    weights : {"none", "area"}
        Which samples.
    year : int
        Its twelve calendar months have a row each; those without a sample have n = 0 and NaN.
    published : pandas.DataFrame, optional
        `report.published.table2` or `table3`. Its columns are added where it has a month
        of the table; its average stands beside ours however few months ours has.

    Returns
    -------
    pandas.DataFrame
        ``month`` ("2020-01", …, "average"), ``n`` (samples of each method; of the average their
        sum), ``r_<method>`` …, ``rmse_<method>`` …, ``mae_<method>`` …, and ``published_`` with
        the columns of `published` (NaN for a month it has not). The joint task has ``hours``
        ("all", "kept", "inserted") in front, a block of rows each if it has samples, and no
        published columns.
    """
    chosen = scored_samples(samples)
    chosen = chosen[(chosen["task"] == task) & (chosen["weights"] == weights)]
    chosen = chosen[chosen["method"].isin(list(methods))]
    chosen = chosen.assign(month=_month(chosen))
    months = [f"{year}-{number:02d}" for number in range(1, 13)]
    if task == SPLIT_BY_HOURS:
        blocks = [
            _months_of(part, methods, months).assign(hours=hours)
            for hours, part in hour_classes(chosen, always=True)
        ]
        table = pd.concat(blocks, ignore_index=True)
        return table[["hours", *table.columns.drop("hours")]]
    table = _months_of(chosen, methods, months)
    if published is None or not set(published["month"]) & set(months):
        return table
    beside = published.set_index("month").add_prefix("published_")
    return table.join(beside, on="month")


def summary(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each method over all its samples, in two ways.

    Parameters
    ----------
    samples : pandas.DataFrame
        Samples of any number of tasks.

    Returns
    -------
    pandas.DataFrame
        ``task, method, hours, weights, aggregate, n_samples, r, rmse, mae, mb, p99_error``; the
        scores in 1 and µg m⁻³. ``hours`` is all, kept and inserted for the joint task; for
        another task there is one row, with the class of all its samples, or "all" if they have
        two. ``aggregate`` is ``months``, the mean of the monthly means as in `month_table`, or
        ``pooled``, one score over all cells of all samples. In a pooled ``p99_error`` each
        sample contributes the cells above its own percentile.
    """
    scored = scored_samples(samples)
    scored = scored.assign(month=_month(scored))
    keys = ["task", "method", "weights"]
    tables = []
    for task in names_in(scored["task"]):
        of_task = scored[scored["task"] == task]
        for hours, part in hour_classes(of_task, always=task == SPLIT_BY_HOURS):
            grouped = part.groupby(keys, observed=True)
            monthly = part.groupby([*keys, "month"], observed=True)[list(SUMMARY_SCORES)].mean()
            by_month = monthly.groupby(level=keys, observed=True).mean()
            code = grouped.ngroup().to_numpy(dtype=np.intp)
            pooled = _pooled(part, code, by_month.index)
            for aggregate, table in (("months", by_month), ("pooled", pooled)):
                tables.append(
                    table.assign(hours=hours, aggregate=aggregate, n_samples=grouped.size())
                )
    joined = pd.concat(tables).reset_index()
    columns = ["task", "method", "hours", "weights", "aggregate", "n_samples", *SUMMARY_SCORES]
    return joined[columns].sort_values(columns[:5], ignore_index=True)


def _months_of(
    samples: pd.DataFrame, methods: Sequence[str], months: Sequence[str]
) -> pd.DataFrame:
    grouped = samples.groupby(["month", "method"], observed=True)
    means = grouped[list(TABLE_SCORES)].mean()
    counts = samples[samples["method"] == methods[0]].groupby("month").size()
    columns = {
        f"{name}_{method}": means[name].xs(method, level="method").reindex(list(months))
        for name in TABLE_SCORES
        for method in methods
    }
    body = pd.DataFrame(columns, index=pd.Index(months))
    body.loc[AVERAGE] = body.mean()
    number = counts.reindex(list(months), fill_value=0).to_list()
    body.insert(0, "n", [*number, sum(number)])
    return body.rename_axis("month").reset_index()


def _pooled(
    samples: pd.DataFrame, code: npt.NDArray[np.integer[Any]], index: pd.Index[Any]
) -> pd.DataFrame:
    """Return the scores over all cells of all samples of each group."""
    frames = _frame_moments(samples)
    sums = frames.pool(code, len(index))
    cells = np.bincount(code, samples["n"].to_numpy(dtype=np.float64), len(index))
    # R asks for two cells, whatever their area.
    sums = sums.scaled(cells / sums.n)
    table = {name: metrics.METRICS[name](sums) for name in (*TABLE_SCORES, "mb")}
    high = samples["weight_p99"].to_numpy(dtype=np.float64)
    error = np.where(high > 0, samples["p99_error"].to_numpy(dtype=np.float64), 0.0)
    above = Moments.only(n=high, square_error=high * error**2).pool(code, len(index))
    return pd.DataFrame({**table, "p99_error": metrics.rmse(above)}, index=index)


def _frame_moments(samples: pd.DataFrame) -> Moments:
    """Return the sums over the cells of each sample, from its stored means."""

    def stored(name: str) -> Array:
        return samples[name].to_numpy(dtype=np.float64)

    means = Moments.only(
        n=np.ones(len(samples)),
        mean_o=stored("mean_truth"),
        mean_m=stored("mean_estimate"),
        ss_o=stored("var_truth"),
        ss_m=stored("var_estimate"),
        sp=stored("covariance"),
        square_error=stored("square_error"),
        absolute_error=stored("absolute_error"),
    )
    return means.scaled(stored("weight"))


def ordered(table: pd.DataFrame, names: Mapping[Task, Sequence[str]]) -> pd.DataFrame:
    """Put the rows in the order of the tables; rows of one method stay as they are."""
    place = {(task, name): i for task in names for i, name in enumerate(names[task])}
    tasks = {task: i for i, task in enumerate(names)}
    keys = [
        (tasks[task], place[task, method])
        for task, method in zip(table["task"], table["method"], strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return table.iloc[order].reset_index(drop=True)


def hour_classes(samples: pd.DataFrame, *, always: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the samples of each class of hours; all at once, unless `always` split."""
    present = names_in(samples["hours"])
    if always:
        for name in HOUR_CLASSES:
            part = samples if name == ALL_HOURS else samples[samples["hours"] == name]
            if len(part):
                yield name, part
    elif len(present):
        yield (present[0] if len(present) == 1 else ALL_HOURS), samples


def all_hours(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows over all hours; all rows if the table does not tell hours apart."""
    if "hours" not in table or ALL_HOURS not in set(table["hours"]):
        return table
    return table[table["hours"] == ALL_HOURS]


def by_hour(samples: pd.DataFrame, value: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return `value` by hour and `columns`, both sorted; NaN where there is no row."""
    finite = samples[value].where(np.isfinite(samples[value]))
    table = samples.assign(**{value: finite}, method=samples["method"].astype(str))
    # Not pivot_table: a sample that stands twice is an error, not a mean.
    return table.pivot(index="hour_start", columns=list(columns), values=value)  # noqa: PD010


def scored_samples(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples that count."""
    finite = np.isfinite(samples["rmse"].to_numpy(dtype=np.float64))
    return samples.iloc[np.flatnonzero(finite)]


def _month(samples: pd.DataFrame) -> npt.NDArray[np.str_]:
    return np.datetime_as_string(samples["hour_start"].to_numpy().astype("datetime64[M]"))


def names_in(column: pd.Series[Any]) -> list[str]:
    """Return the values of a column, each once, sorted."""
    return sorted(str(name) for name in column.unique())
