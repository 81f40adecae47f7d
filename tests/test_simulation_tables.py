"""Tables of a simulation against plain loops, hand-computed numbers and pooled cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from deepcams_eval.bench.frame_scores import FrameScorer
from deepcams_eval.bench.skill import skill
from deepcams_eval.bench.tables import common, month_table, summary
from deepcams_eval.report import published

TEMPORAL = {"temporal": ["linear"]}


def sample(task: str, method: str, time: str, **values: object) -> dict[str, object]:
    """Return one sample, with plain values where none are given."""
    rest = {"hours": "inserted", "weights": "none", "n": 10, "weight": 10.0, "weight_p99": 1.0}
    scores = dict.fromkeys(("r", "rmse", "mae", "mb", "p99_error"), 0.5)
    means = dict.fromkeys(("mean_truth", "mean_estimate", "var_truth", "var_estimate"), 2.0)
    sums = {"covariance": 1.5, "square_error": 0.25, "absolute_error": 0.4}
    row = {"task": task, "method": method, "hour_start": pd.Timestamp(time), **rest, **scores}
    return {**row, **means, **sums, **values}


def year_of_scores(
    seed: int, methods: dict[str, float], *, days: int = 40, shared: float = 3.0
) -> pd.DataFrame:
    """Return samples of two hours a day, spread over the year.

    The RMSE of a method is a level of its own, plus the weather of the day, which all methods
    share, plus a little noise.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for day in pd.date_range("2020-01-02", "2020-12-29", periods=days).normalize():
        weather = 10 + shared * rng.random()
        for hour in ("01:30", "02:30"):
            for method, level in methods.items():
                rmse = weather + level + 0.02 * rng.normal()
                time = f"{day.date()} {hour}"
                rows.append(sample("temporal", method, time, rmse=rmse, mae=rmse / 4))
    return pd.DataFrame(rows)


def hand_made() -> pd.DataFrame:
    return pd.DataFrame(
        [
            sample("temporal", "linear", "2020-01-05 01:30", r=0.9, rmse=2.0, mae=0.5),
            sample("temporal", "linear", "2020-01-05 02:30", r=np.nan, rmse=4.0, mae=0.7),
            sample("temporal", "linear", "2020-03-31 23:30", r=0.7, rmse=8.0, mae=1.6),
            sample("temporal", "dis", "2020-01-05 01:30", r=0.95, rmse=1.0, mae=0.3),
            sample("temporal", "dis", "2020-01-05 02:30", r=0.85, rmse=2.0, mae=0.5),
            sample("temporal", "dis", "2020-03-31 23:30", r=0.75, rmse=7.0, mae=1.4),
        ]
    )


def test_months_and_their_average_by_hand() -> None:
    table = month_table(
        hand_made(), "temporal", ["linear", "dis"], "none", 2020, published.table2()
    )
    assert table.columns.to_list() == [
        *("month", "n", "r_linear", "r_dis", "rmse_linear", "rmse_dis", "mae_linear", "mae_dis"),
        *("published_r_linear", "published_r_deepcams", "published_rmse_linear"),
        *("published_rmse_deepcams", "published_mae_linear", "published_mae_deepcams"),
    ]
    assert table["month"].to_list() == [*(f"2020-{m:02d}" for m in range(1, 13)), "average"]
    assert table["n"].to_list() == [2, 0, 1, *[0] * 9, 3]
    assert table["rmse_dis"].isna().sum() == 10
    assert table["published_r_linear"].notna().all()
    # The undefined R counts in n alone; the average is of months, not of samples.
    found = table[table["n"] > 0]
    assert found["r_linear"].to_numpy() == pytest.approx([0.9, 0.7, 0.8])
    assert found["rmse_linear"].to_numpy() == pytest.approx([3.0, 8.0, 5.5])
    assert found["rmse_dis"].to_numpy() == pytest.approx([1.5, 7.0, 4.25])
    assert found["mae_dis"].to_numpy() == pytest.approx([0.4, 1.4, 0.9])
    # Printed in Table 2 for January, March and the average.
    assert found["published_rmse_linear"].to_list() == [9.30, 2.37, 5.30]


def test_another_year_has_no_published_columns() -> None:
    earlier = hand_made()
    earlier["hour_start"] -= pd.Timedelta(days=366)
    other = month_table(earlier, "temporal", ["dis"], "none", 2019, published.table2())
    assert not [name for name in other if name.startswith("published")]


def test_the_joint_task_is_split_by_class_of_hours() -> None:
    samples = pd.DataFrame(
        [
            sample("joint", "a+b", "2020-02-01 00:30", hours="kept", rmse=1.0),
            sample("joint", "a+b", "2020-02-01 01:30", hours="inserted", rmse=4.0),
            sample("joint", "a+b", "2020-02-01 02:30", hours="inserted", rmse=4.0),
        ]
    )
    table = month_table(samples, "joint", ["a+b"], "none", 2020, published.table2())
    assert table.columns.to_list() == ["hours", "month", "n", "r_a+b", "rmse_a+b", "mae_a+b"]
    average = table[table["month"] == "average"].set_index("hours")
    assert average["rmse_a+b"].to_dict() == {"all": 3.0, "kept": 1.0, "inserted": 4.0}
    assert average["n"].to_dict() == {"all": 3, "kept": 1, "inserted": 2}
    assert len(table) == 39
    assert summary(samples)["hours"].to_list() == ["all"] * 2 + ["inserted"] * 2 + ["kept"] * 2


def test_hours_in_which_one_method_has_no_score_are_left_out() -> None:
    one, two = hand_made(), hand_made().assign(task="spatial")
    one.loc[4, "rmse"] = np.nan
    two = two.drop(index=2)
    area = pd.concat([one, two]).assign(weights="area")
    samples = pd.concat([one, two, area], ignore_index=True)
    kept = common(samples)
    assert len(kept) == 16
    hours = kept.groupby(["task", "method", "weights"])["hour_start"].apply(set)
    for task in ("temporal", "spatial"):
        assert all(found == hours[task].iloc[0] for found in hours[task])
    pd.testing.assert_frame_equal(common(kept), kept)
    # An hour that one weighting lacks is left out of both.
    samples = pd.concat([hand_made(), hand_made().assign(weights="area")], ignore_index=True)
    samples.loc[7, "rmse"] = np.nan
    assert len(common(samples)) == 8


def frames(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return latitude and six hours of truth and estimate, with more and more gaps."""
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2.0, 6.0, (6, 12, 30)) * np.arange(1, 7)[:, None, None]
    estimate = 0.9 * truth + rng.normal(2.0, 4.0, truth.shape)
    estimate[rng.random(truth.shape) < np.linspace(0, 0.6, 6)[:, None, None]] = np.nan
    return np.linspace(25.0, 80.0, 12), truth, estimate


def scored_frames(seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    latitude, truth, estimate = frames(seed)
    scorer = FrameScorer(latitude, np.arange(30) * 5.0)
    rows = [
        {"task": "temporal", "method": "m", "hour_start": time, "hours": "inserted"} | one
        for time, ours, theirs in zip(
            pd.date_range("2020-01-31 21:30", periods=6, freq="h"), truth, estimate, strict=True
        )
        for one in scorer.score(ours, {"": theirs})[""]
    ]
    area = np.diff(np.sin(np.radians(np.linspace(22.5, 82.5, 13))))
    weights = np.broadcast_to((area / area.mean())[:, None], truth.shape)
    return pd.DataFrame(rows), truth, estimate, weights


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_pooled_scores_are_those_of_all_cells_at_once(seed: int) -> None:
    samples, truth, estimate, area = scored_frames(seed)
    both = np.isfinite(estimate)
    high = both & (truth > np.percentile(truth, 99, axis=(1, 2), keepdims=True))
    table = summary(samples).set_index(["aggregate", "weights"])
    for name, weights in (("none", np.ones_like(area)), ("area", area)):
        found = table.loc[("pooled", name)]
        o, m, w = truth[both], estimate[both], weights[both]
        covariance = np.cov(o, m, aweights=w)
        expected = {
            "r": covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]),
            "rmse": np.sqrt(np.average((m - o) ** 2, weights=w)),
            "mae": np.average(np.abs(m - o), weights=w),
            "mb": np.average(m - o, weights=w),
            "p99_error": np.sqrt(np.average((estimate - truth)[high] ** 2, weights=weights[high])),
        }
        for score, value in expected.items():
            assert found[score] == pytest.approx(value, rel=1e-9), (name, score)
        assert found["n_samples"] == 6


def test_the_summary_of_months_is_the_average_of_the_month_table() -> None:
    samples, *_ = scored_frames(1)
    for weights in ("none", "area"):
        row = summary(samples).query(f"aggregate == 'months' and weights == '{weights}'").iloc[0]
        last = month_table(samples, "temporal", ["m"], weights, 2020).iloc[-1]
        for name in ("r", "rmse", "mae"):
            assert row[name] == pytest.approx(last[f"{name}_m"], rel=1e-12)
    plain = samples[samples["weights"] == "none"]
    halves = [plain["p99_error"].iloc[:3].mean(), plain["p99_error"].iloc[3:].mean()]
    months = summary(samples).query("aggregate == 'months' and weights == 'none'")
    assert months["p99_error"].iloc[0] == pytest.approx(np.mean(halves))


def test_hours_of_two_classes_are_one_row_but_for_the_joint_task() -> None:
    samples = hand_made().assign(task="spatial")
    samples.loc[[0, 3], "hours"] = "kept"
    assert set(summary(samples)["hours"]) == {"all"}
    assert set(summary(hand_made())["hours"]) == {"inserted"}


def compare(samples: pd.DataFrame) -> pd.DataFrame:
    table = skill(samples, TEMPORAL)
    return table.set_index(["method", "metric"])


def test_skill_by_hand() -> None:
    found = compare(hand_made()).loc[("dis", "rmse")]
    assert found["baseline_score"] == pytest.approx(5.5)
    assert found["score"] == pytest.approx(4.25)
    assert found["difference"] == pytest.approx(-1.25)
    assert found["skill"] == pytest.approx(1 - 4.25 / 5.5)
    assert (found["days"], found["samples"]) == (2, 3)
    # Two days are too few for an interval.
    assert found[["difference_lo", "difference_hi", "skill_lo", "skill_hi"]].isna().all()


def test_a_method_that_is_the_baseline_differs_by_exactly_nothing() -> None:
    samples = year_of_scores(2, {"linear": 0.0})
    copies = [samples.assign(method=name) for name in ("twin", "again")]
    table = compare(pd.concat([samples, *copies]))
    bounds = ["difference", "difference_lo", "difference_hi", "skill", "skill_lo", "skill_hi"]
    assert set(table.index.get_level_values("method")) == {"twin", "again"}
    assert (table[bounds] == 0.0).all(axis=None)
    assert (table["score"] == table["baseline_score"]).all()


def test_a_method_that_is_better_every_day_is_better_for_certain() -> None:
    # The weather moves all scores by 3; the methods differ by a tenth of that.
    table = compare(year_of_scores(3, {"linear": 0.0, "better": -0.3, "worse": 0.3}))
    for metric in ("rmse", "mae"):
        better, worse = table.loc[("better", metric)], table.loc[("worse", metric)]
        assert better["difference_hi"] < 0 < better["skill_lo"]
        assert worse["skill_hi"] < 0 < worse["difference_lo"]
        assert better["difference_lo"] <= better["difference"] <= better["difference_hi"]
        assert better["skill_lo"] <= better["skill"] <= better["skill_hi"]


def test_pairing_cancels_what_the_methods_share() -> None:
    samples = year_of_scores(4, {"linear": 0.0, "better": -0.3})
    paired = compare(samples).loc[("better", "rmse")]
    # Give the method the weather of other days: the same scores, no longer paired.
    rng = np.random.default_rng(5)
    mine = np.flatnonzero(samples["method"] == "better")
    days = samples["hour_start"].iloc[mine].dt.floor("D").to_numpy()
    unpaired = samples.copy()
    order = rng.permutation(np.unique(days))
    moved = np.concatenate([mine[days == day] for day in order])
    column = unpaired.columns.get_loc("rmse")
    unpaired.iloc[mine, column] = samples["rmse"].to_numpy()[moved]
    loose = compare(unpaired).loc[("better", "rmse")]
    width = paired["difference_hi"] - paired["difference_lo"]
    assert width < 0.1
    assert loose["difference_hi"] - loose["difference_lo"] > 10 * width
    assert loose["difference_lo"] < 0 < loose["difference_hi"]


def test_blocks_of_days_are_left_out_one_by_one() -> None:
    samples = year_of_scores(6, {"linear": 0.0, "better": -0.3}, days=15)
    found = compare(samples).loc[("better", "rmse")]
    wide = samples.pivot_table(values="rmse", index="hour_start", columns="method")
    gap, month = (wide["better"] - wide["linear"]).to_numpy(), wide.index.month.to_numpy()
    day = wide.index.floor("D")
    days = np.unique(day)
    # The days of this year are apart from each other, so that each is a block.
    assert found["blocks"] == len(days) == 15
    without = []
    for one in days:
        rest = day != one
        months = set(month[rest])
        without.append(np.mean([gap[rest][month[rest] == mine].mean() for mine in months]))
    away = np.array(without) - found["difference"]
    reach = stats.t.ppf(0.975, 14) * np.sqrt(14 / 15 * np.sum(away**2))
    assert found["difference_hi"] - found["difference"] == pytest.approx(reach, rel=1e-6)


@pytest.mark.parametrize("keep", [0.0, 0.7])
@pytest.mark.parametrize("few", [False, True])
def test_intervals_cover_a_difference_whose_days_are_alike(keep: float, few: bool) -> None:
    """A year, or three days of each month, whose daily differences remember the day before."""
    year = pd.date_range("2020-01-01", "2020-12-31")
    chosen = np.isin(year.day, (14, 15, 16)) if few else np.ones(366, dtype=bool)
    rng = np.random.default_rng(21)
    inside, repetitions = 0, 60
    for _ in range(repetitions):
        noise = rng.standard_normal(366) * np.sqrt(1 - keep**2)
        noise[0] /= np.sqrt(1 - keep**2)
        gap = -0.3 + 0.25 * signal.lfilter([1], [1, -keep], noise)
        values = {"linear": np.full(366, 2.0), "better": 2.0 + gap}
        parts = [
            pd.DataFrame(
                {
                    "task": "temporal",
                    "method": name,
                    "hour_start": year[chosen].to_numpy(),
                    "hours": "inserted",
                    "weights": "none",
                    "r": 0.9,
                    "rmse": one[chosen],
                    "mae": one[chosen],
                }
            )
            for name, one in values.items()
        ]
        row = compare(pd.concat(parts, ignore_index=True)).loc[("better", "rmse")]
        inside += bool(row["difference_lo"] <= -0.3 <= row["difference_hi"])
    assert inside >= 0.9 * repetitions


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    samples = year_of_scores(seed, {"linear": 0.0, "x": 0.1, "y": -0.1}, days=12)
    samples.loc[samples.index % 11 == 3, "rmse"] = np.nan
    other = samples.sample(frac=1, random_state=seed).reset_index(drop=True)
    pd.testing.assert_frame_equal(compare(samples), compare(other), rtol=1e-12)
    pd.testing.assert_frame_equal(summary(samples), summary(other), rtol=1e-12)
    methods = ["linear", "x", "y"]
    pd.testing.assert_frame_equal(
        month_table(common(samples), "temporal", methods, "none", 2020),
        month_table(common(other), "temporal", methods, "none", 2020),
        rtol=1e-12,
    )


def test_more_methods_and_tasks_move_nothing() -> None:
    samples = year_of_scores(9, {"linear": 0.0, "x": 0.1})
    more = pd.concat(
        [year_of_scores(9, {"linear": 0.0}).assign(method="z"), samples], ignore_index=True
    )
    pd.testing.assert_frame_equal(compare(samples), compare(more).loc[["x"]])
    with_text = samples.astype({"task": "category", "method": "category", "weights": "category"})
    pd.testing.assert_frame_equal(compare(samples), compare(with_text))


def test_a_method_is_compared_where_both_have_a_score() -> None:
    samples = year_of_scores(10, {"linear": 0.0, "x": 0.1, "y": 0.1})
    hours = samples["hour_start"].drop_duplicates().sort_values()
    gone = samples["hour_start"].isin(hours.iloc[:20]) & (samples["method"] == "x")
    samples.loc[gone, ["rmse", "mae"]] = np.nan
    table = compare(samples)
    assert table.loc[("x", "rmse"), "samples"] == len(hours) - 20
    assert table.loc[("x", "rmse"), "days"] == 30
    assert table.loc[("y", "rmse"), "samples"] == len(hours)
    both = samples[~samples["hour_start"].isin(hours.iloc[:20])]
    expected = both[both["method"] == "linear"]
    monthly = expected.groupby(expected["hour_start"].dt.month)["rmse"].mean()
    assert table.loc[("x", "rmse"), "baseline_score"] == pytest.approx(monthly.mean())


def test_joint_skill_is_given_by_class_of_hours() -> None:
    samples = year_of_scores(11, {"linear+bicubic": 0.0, "dis+bicubic-ibp": -0.3})
    samples = samples.assign(task="joint")
    samples["hours"] = np.where(samples["hour_start"].dt.hour == 1, "kept", "inserted")
    table = skill(samples, {"joint": ["linear+bicubic"], "spatial": ["bicubic"]})
    counted = {"all": 80, "inserted": 40, "kept": 40}
    assert table.groupby("hours")["samples"].first().to_dict() == counted
    assert (table["difference_hi"] < 0).all()


def test_baselines_that_were_not_run_give_no_row() -> None:
    table = skill(hand_made(), {"temporal": ["nearest"]})
    assert table.empty
    assert {"skill_lo", "days"} <= set(table.columns)
