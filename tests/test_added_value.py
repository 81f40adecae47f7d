"""What finer products add, against sums made by hand and truths that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats

from deepcams_eval.core.pairs import Pairs
from deepcams_eval.core.sphere import distance_km, neighbours
from deepcams_eval.errors import NoDataError
from deepcams_eval.evidence.added_value import answer
from deepcams_eval.evidence.added_value.controls import INFORMED, controls
from deepcams_eval.evidence.added_value.differences import NEIGHBOUR_KM, STRATA, compare
from deepcams_eval.evidence.added_value.diurnal import diurnal, diurnal_curves, first_harmonic
from deepcams_eval.evidence.added_value.information import LEAST_INFORMATION, information
from deepcams_eval.evidence.added_value.sample import Sample
from deepcams_eval.evidence.added_value.spectra import spectra
from deepcams_eval.evidence.added_value.verdicts import Known, judged
from deepcams_eval.evidence.added_value.within_cell import within_cells
from deepcams_eval.evidence.questions import Frames, Given
from deepcams_eval.evidence.references import Grid
from tests.hourly_pairs import HOUR, by_station, pairs_of

LINEAR, BICUBIC = "linear:cams", "linear+bicubic:cams"
REFERENCES = {LINEAR: LINEAR, BICUBIC: BICUBIC}
COARSE = Grid(np.arange(45.0, 54.01, 0.75), np.arange(0.0, 12.01, 0.75), 3.0, "point")
FINE = Grid(np.arange(45.0, 54.01, 0.25), np.arange(0.0, 12.01, 0.25), 1.0, "point")
GRIDS = {"cams": COARSE, "good": FINE, "bad": FINE}
HEADLINE = ("r", "rmse", "mae")


def make_pairs(
    stations: int = 40, days: int = 20, seed: int = 3, *, towns: int = 8, missing: float = 0.01
) -> Pairs:
    """Return stations, some of them in towns that share a coarse cell, and three products.

    ``good`` knows the place and the hour within the coarse cell, ``bad`` carries a noise of the
    same size, the interpolations are what is common to both.
    """
    rng = np.random.default_rng(seed)
    latitude = rng.uniform(45.4, 53.6, stations)
    longitude = rng.uniform(0.4, 11.6, stations)
    for town in range(towns):
        # Four stations around a node of the coarse grid, in fine cells of their own.
        row, column = 46.5 + 0.75 * town, 1.5 + 0.75 * town
        for place, (north, east) in enumerate([(0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)]):
            at = 4 * town + place
            latitude[at] = row + north + rng.uniform(-0.1, 0.1)
            longitude[at] = column + east + rng.uniform(-0.1, 0.1)
    hour = np.arange(24 * days)
    wave = 4 * np.cos(2 * np.pi * (hour[None, :] + 0.5 + longitude[:, None] / 15 - 20) / 24)
    weather = 8 * np.sin(2 * np.pi * hour / 60)[None, :] + rng.normal(0, 3, (stations, 1))
    local = rng.normal(0, 4, (stations, 1)) + rng.normal(0, 2, (stations, len(hour)))
    common = 25 + weather + 0.7 * wave
    truth = common + local + 0.3 * wave
    noise = rng.normal(0, 5, truth.shape)
    columns = {
        "observed": truth + rng.normal(0, 1, truth.shape),
        "good": common + 0.6 * local + 0.2 * wave,
        "bad": common + noise,
        LINEAR: common,
        BICUBIC: common + rng.normal(0, 0.3, truth.shape),
        # An observation that ends at 03:00 began at 02:00.
        "cams": np.where((hour + 1) % 3 == 0, common, np.nan),
    }
    start = np.datetime64("2018-03-01T00", "us") + hour * HOUR
    table = by_station(start, **columns)
    table["latitude"] = np.repeat(latitude, len(hour))
    table["longitude"] = np.repeat(longitude, len(hour))
    table.loc[rng.random(len(table)) < missing, "good"] = np.nan
    table = table[rng.random(len(table)) >= missing].reset_index(drop=True)
    made = pairs_of(table, "cams", "good", "bad", LINEAR, BICUBIC)
    return Pairs(made.table, ("cams", "good", "bad"))


def given_with(pairs: Pairs, **other: Any) -> Given:
    given = {"baseline": "cams", "references": REFERENCES, "grids": GRIDS, **other}
    return Given(pairs, {}, {}, **given)


def make_sample(pairs: Pairs, **other: Any) -> Sample:
    return Sample.of(given_with(pairs, **other))


def asked(pairs: Pairs, **other: Any) -> Frames | None:
    """Return the tables on added value."""
    return answer(given_with(pairs, **other))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return make_pairs()


@pytest.fixture(scope="module")
def sample(pairs: Pairs) -> Sample:
    return make_sample(pairs)


@pytest.fixture(scope="module")
def compared(sample: Sample) -> pd.DataFrame:
    return compare(sample)


@pytest.fixture(scope="module")
def found(pairs: Pairs) -> Mapping[str, pd.DataFrame]:
    frames = asked(pairs)
    assert frames is not None
    return frames


def by_hand(observed: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    error = estimate.astype(float) - observed
    alone = len(observed) < 2
    return {
        "r": np.nan if alone else float(np.corrcoef(observed, estimate.astype(float))[0, 1]),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
    }


def great_circle_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The haversine formula, point by point."""
    (lat1, lon1), (lat2, lon2) = np.deg2rad(one), np.deg2rad(other)
    h = np.sin((lat2 - lat1) / 2) ** 2
    h += np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return float(2 * 6371.0088 * np.arcsin(np.sqrt(h)))


def labelled(table: pd.DataFrame, product: str, reference: str) -> pd.DataFrame:
    """Return the pairs of a comparison with the value of each stratum, made row by row."""

    def label(value: float, limits: Sequence[float], names: str) -> str:
        return names.split("|")[sum(value >= limit for limit in limits)]

    def level(value: float) -> str:
        return label(value, (10, 25, 50), "< 10|10-25|25-50|>= 50")

    rows = table[table[product].notna() & table[reference].notna()].copy()
    places = table.groupby("station_id", observed=True)[["latitude", "longitude"]].first()
    near, centre = {}, {}
    for name, place in places.iterrows():
        here = (place["latitude"], place["longitude"])
        count = sum(great_circle_km(here, tuple(other)) <= 50 for other in places.to_numpy()) - 1
        near[name] = label(count, (1, 3, 10), "0|1-2|3-9|10 or more")
        node = tuple(
            axis[np.abs(axis - at).argmin()]
            for axis, at in zip((COARSE.latitude, COARSE.longitude), here, strict=True)
        )
        away = great_circle_km(here, node)
        centre[name] = label(away, (15, 30), "< 15 km|15-30 km|>= 30 km")
    rows["all"] = "all"
    rows["hours"] = np.where(rows["time_end"].dt.hour % 3 == 0, "analysis", "interpolated")
    rows["neighbours"] = rows["station_id"].astype(str).map(near)
    rows["observed_class"] = rows["observed"].map(level)
    mean = (rows[product].astype(float) + rows[reference].astype(float)) / 2
    rows["level"] = mean.map(level)
    rows["centre"] = rows["station_id"].astype(str).map(centre)
    return rows


@pytest.mark.parametrize("reference", ["cams", LINEAR, BICUBIC])
@pytest.mark.parametrize("product", ["good", "bad"])
def test_differences_are_those_of_the_pairs_of_each_stratum(
    pairs: Pairs, compared: pd.DataFrame, product: str, reference: str
) -> None:
    rows = labelled(pairs.table, product, reference)
    mine = compared[(compared["product"] == product) & (compared["reference"] == reference)]
    seen = 0
    for stratum in STRATA:
        column = "observed_class" if stratum == "observed" else stratum
        groups = rows.groupby(column)
        told = mine[mine["stratum"] == stratum].set_index("value")
        assert list(told.index) == [one for one in STRATA[stratum] if one in groups.groups]
        for value, group in groups:
            row = told.loc[value]
            ours, theirs = (
                by_hand(group["observed"].to_numpy(), group[name].to_numpy())
                for name in (product, reference)
            )
            assert row["n"] == len(group)
            assert row["stations"] == group["station_id"].nunique()
            assert row["days"] == group["time_start"].dt.date.nunique()
            for name in HEADLINE:
                near = {"abs": 1e-6, "nan_ok": True}
                assert row[name] == pytest.approx(ours[name], **near)
                assert row[f"reference_{name}"] == pytest.approx(theirs[name], **near)
                assert row[f"d_{name}"] == pytest.approx(ours[name] - theirs[name], **near)
            seen += 1
    assert seen >= 10


def test_intervals_leave_out_whole_stations_or_boxes(
    pairs: Pairs, sample: Sample, compared: pd.DataFrame
) -> None:
    rows = pairs.table[pairs.table["good"].notna()]
    gain = np.abs(rows["good"].astype(float) - rows["observed"])
    gain -= np.abs(rows[LINEAR].astype(float) - rows["observed"])
    row = compared.query("product == 'good' and reference == @LINEAR and stratum == 'all'").iloc[0]
    box = dict(zip(sample.stations, sample.clusters.box, strict=True))
    widths = []
    for cluster in (rows["station_id"].astype(str), rows["station_id"].astype(str).map(box)):
        names = cluster.unique()
        without = np.array([gain[cluster != name].mean() for name in names])
        size = np.array([(cluster == name).sum() for name in names])
        share = size / size.sum()
        error = np.sqrt(np.sum((1 - share) * (without - gain.mean()) ** 2))
        widths.append(stats.t.ppf(0.975, 1 / np.sum(share**2) - 1) * error)
    expected = gain.mean() + np.array([-1, 1]) * max(widths)
    np.testing.assert_allclose([row["d_mae_lo"], row["d_mae_hi"]], expected, atol=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(-89, 89), st.floats(-180, 180)), min_size=1, max_size=12, unique=True
    )
)
def test_neighbours_and_distances_anywhere_on_the_globe(places: list[tuple[float, float]]) -> None:
    latitude, longitude = np.array(places).T
    far = [[great_circle_km(one, other) for other in places] for one in places]
    from_first = distance_km(latitude, longitude, latitude[:1], longitude[:1])
    np.testing.assert_allclose(from_first, far[0], atol=1e-3, rtol=1e-6)
    # A distance within a metre of the limit may fall on either side.
    if not (np.abs(np.array(far) - 50) < 1e-3).any():
        expected = [sum(one <= 50 for one in row) - 1 for row in far]
        np.testing.assert_array_equal(neighbours(latitude, longitude, NEIGHBOUR_KM), expected)


def test_known_distances() -> None:
    # A degree of latitude, and the same across the date line at 60 degrees north.
    places = np.array([[10.0, 60.0], [5.0, 179.5], [11.0, 60.0], [5.0, -179.5]])
    np.testing.assert_allclose(distance_km(*places), [111.195, 55.597], atol=2e-3)


def test_within_cells_by_hand() -> None:
    pairs = make_pairs(stations=30, days=2, towns=7, missing=0.1)
    table = within_cells(make_sample(pairs))
    table = table[table["part"] == "all"].set_index(["product", "hours"])
    rows = pairs.table[pairs.table["good"].notna()].copy()
    for name, grid, edge in (("coarse", COARSE, 0.75), ("place", FINE, 0.25)):
        row = np.floor((rows["latitude"] - grid.latitude[0]) / edge + 0.5).astype(int)
        column = np.floor((rows["longitude"] - grid.longitude[0]) / edge + 0.5).astype(int)
        rows[name] = list(zip(row, column, strict=True))
    away: dict[str, list[float]] = {"observed": [], "good": [], BICUBIC: []}
    cells, stations = set(), set()
    hours = n = freedom = 0
    for (cell, _), group in rows.groupby(["coarse", "time_start"]):
        places = [one for _, one in group.groupby("place")]
        if len(places) < 3:
            continue
        cells.add(cell)
        hours += 1
        stations |= set(group["station_id"])
        n += len(group)
        freedom += len(places) - 1
        for name, parts in away.items():
            means = np.array([one[name].astype(float).mean() for one in places])
            parts.extend(means - means.mean())
    o, m, b = (np.array(away[name]) for name in ("observed", "good", BICUBIC))
    row = table.loc[("good", "all")]
    counted = [len(cells), hours, len(stations), n]
    assert list(row[["cells", "cell_hours", "stations", "n"]]) == counted
    assert len(cells) >= 6
    assert row["variance_observed"] == pytest.approx((o**2).sum() / freedom, abs=1e-6)
    assert row["variance_product"] == pytest.approx((m**2).sum() / freedom, abs=1e-6)
    assert row["variance_ratio"] == pytest.approx((m**2).sum() / (o**2).sum(), abs=1e-6)
    r = (o * m).sum() / np.sqrt((o**2).sum() * (m**2).sum())
    other = (o * b).sum() / np.sqrt((o**2).sum() * (b**2).sum())
    assert row["r"] == pytest.approx(r, abs=1e-6)
    assert row["d_r"] == pytest.approx(r - other, abs=1e-6)
    assert row["r_lo"] < r < row["r_hi"]
    assert table.loc[("good", "analysis"), "n"] + table.loc[("good", "interpolated"), "n"] == n


def test_few_cells_say_nothing_but_how_few_they_are() -> None:
    table = within_cells(make_sample(make_pairs(towns=5)))
    row = table[(table["product"] == "good") & (table["hours"] == "all")].iloc[0]
    assert row["cells"] == 5
    assert row["n"] > 100
    numbers = ["variance_observed", "variance_product", "variance_ratio", "r", "r_lo", "d_r"]
    assert row[numbers].isna().all()


@given(
    st.floats(0.1, 30),
    st.floats(0, 24),
    st.floats(-20, 60),
    st.floats(-6, 6),
    st.sampled_from([3, 1]),
)
def test_a_planted_cycle_is_found(
    amplitude: float, peak: float, mean: float, begin: float, step: int
) -> None:
    hours = np.arange(begin, begin + 24, step)
    cycle = mean + amplitude * np.cos(2 * np.pi * (hours - peak) / 24)
    harmonic = first_harmonic(cycle[None, :], hours)[0]
    assert abs(harmonic) == pytest.approx(amplitude, rel=1e-6)
    turn = harmonic * np.exp(-2j * np.pi * peak / 24)
    assert np.angle(turn) == pytest.approx(0, abs=1e-6)


def test_daily_cycles_equal_a_transform_of_the_hourly_means(pairs: Pairs, sample: Sample) -> None:
    table = diurnal(sample).set_index(["product", "reference"])
    rows = pairs.table[pairs.table["good"].notna()]
    omega = 2 * np.pi / 24
    harmonics: dict[str, list[complex]] = {"observed": [], "good": [], LINEAR: []}
    for _, station in rows.groupby("station_id", observed=True):
        means = station.groupby(station["time_start"].dt.hour)[list(harmonics)].mean()
        for name, found in harmonics.items():
            # The second term of the transform, times two over N, at the time of each value.
            term = np.fft.fft(means[name].to_numpy(dtype=float))[1] * 2 / 24
            delay = 0.5 if name == "observed" else 1.0
            found.append(np.conj(term) * np.exp(1j * omega * delay))
    o, m, q = (np.array(harmonics[name]) for name in ("observed", "good", LINEAR))
    row = table.loc[("good", LINEAR)]
    assert row["stations"] == 40
    assert row["amplitude_ratio"] == pytest.approx(np.abs(m).sum() / np.abs(o).sum(), abs=1e-6)
    assert row["phase_h"] == pytest.approx(np.angle((m * o.conj()).sum()) / omega, abs=1e-6)
    assert row["error"] == pytest.approx(np.abs(m - o).mean(), abs=1e-6)
    gain = np.abs(m - o).mean() - np.abs(q - o).mean()
    assert row["d_error"] == pytest.approx(gain, abs=1e-6)
    # Planted: nine tenths of the amplitude, and a peak at 20 h.
    assert row["amplitude_ratio"] == pytest.approx(0.9, abs=0.1)
    assert row["peak_observed_h"] == pytest.approx(20, abs=0.4)
    assert table.loc[("good", "cams"), "hours"] == "analysis"


def test_a_station_without_enough_values_at_some_hour_is_left_out() -> None:
    whole = make_pairs(missing=0.0)
    table = whole.table
    gap = (table["station_id"] == "s01") & (table["time_start"].dt.hour == 5)
    short = Pairs(table[~gap].reset_index(drop=True), whole.products)
    found = diurnal(make_sample(short)).set_index(["product", "reference"])
    assert found.loc[("good", LINEAR), "stations"] == 39
    # The observation of 05:00 ends at 06:00, an hour that the parent has.
    assert found.loc[("good", "cams"), "stations"] == 39
    curves = diurnal_curves(make_sample(short))
    assert set(curves["series"]) == {"observed", "good", "bad", BICUBIC}
    per_hour = curves[curves["series"] == "observed"].groupby(["product"])["stations"].sum()
    assert (per_hour == 39 * 24).all()


def test_spectra_by_band_by_hand(pairs: Pairs, sample: Sample) -> None:
    table = spectra(sample).set_index(["product", "band"])
    rows = pairs.table[pairs.table["good"].notna()]
    taper = signal.get_window("hann", 48)
    power: dict[str, np.ndarray] = {}
    windows = 0
    for _, station in rows.groupby("station_id", observed=True):
        stamp = station["time_start"].to_numpy()
        run = np.concatenate([[0], np.cumsum(np.diff(stamp) != np.timedelta64(1, "h"))])
        for _, stretch in station.groupby(run):
            for first in range(0, len(stretch) - 47, 24):
                part = stretch.iloc[first : first + 48]
                part = part[["observed", "good"]].astype(float)
                o, m = np.fft.rfft(taper * (part - part.mean()).to_numpy().T)
                # The last frequency has no twin at the other side.
                weight = np.where(np.arange(25) == 24, 1, 2) / (48 * (taper**2).sum())
                parts = {"o": abs(o) ** 2, "m": abs(m) ** 2, "c": (m * o.conj()).real}
                for name, values in parts.items():
                    power[name] = power.get(name, 0) + weight * values
                windows += 1
    assert windows > 20
    for band, places in (
        ("2-6 h", slice(9, 25)),
        ("6-12 h", slice(5, 9)),
        ("12-36 h", slice(2, 5)),
        ("36-48 h", slice(1, 2)),
    ):
        o, m, c = (power[name][places].sum() for name in "omc")
        row = table.loc[("good", band)]
        assert row["windows"] == windows
        assert row["ratio"] == pytest.approx(m / o, abs=1e-6)
        assert row["r"] == pytest.approx(c / np.sqrt(m * o), abs=1e-6)
        assert row["variance_observed"] == pytest.approx(o / windows, rel=1e-6)
    # Noise has the variance at short periods, and not the correlation.
    short = table.xs("2-6 h", level="band")
    assert short.loc["bad", "ratio"] > short.loc["good", "ratio"]
    assert short.loc["bad", "r_hi"] < short.loc["good", "r_lo"]


def test_a_product_that_is_not_hourly_has_no_spectrum(pairs: Pairs) -> None:
    slow = Grid(FINE.latitude, FINE.longitude, 3.0, "point")
    sample = make_sample(pairs, references={}, grids={**GRIDS, "good": slow})
    assert sample.fine == ("good", "bad")
    assert set(spectra(sample)["product"]) == {"bad"}


NEW, OLD = Known(1e-6, 1e-6, False), Known(1.0, 0.4, True)


@pytest.mark.parametrize(
    ("gain", "known", "expected"),
    [
        ([1e-5, 1e-4], NEW, ["better", "better"]),
        ([1e-5, 1e-4], OLD, ["smoother", "smoother"]),
        ([1e-5, 1e-4], Known(1e-6, 0.4, False), ["smoother", "smoother"]),
        ([1e-5, 1e-4], Known(0.03, 1e-6, False), ["smoother", "smoother"]),
        ([1e-5, 1 - 1e-5], NEW, ["better", "worse"]),
        ([0.5, 0.4], OLD, ["no difference that matters"] * 2),
        ([0.5, 0.4], NEW, ["not shown"] * 2),
        # Alone it would be beyond chance; of two questions it is not.
        ([0.02, 0.4], NEW, ["not shown"] * 2),
        ([0.02, np.nan], NEW, ["better", "too small"]),
        ([1e-5, 1e-4], Known(np.nan, np.nan, False), ["smoother", "smoother"]),
    ],
)
def test_verdicts(gain: list[float], known: Known, expected: list[str]) -> None:
    lines = pd.DataFrame({"p_gain": gain, "p_loss": 1 - np.array(gain)})
    assert judged(lines, known) == expected


@pytest.fixture(scope="module")
def judged_controls(pairs: Pairs) -> pd.DataFrame:
    return controls(given_with(pairs), np.random.default_rng(31))


def test_a_copy_without_information_is_never_better(judged_controls: pd.DataFrame) -> None:
    copies = judged_controls[~judged_controls["product"].isin(INFORMED)]
    assert copies["product"].nunique() == 7
    assert not (copies["verdict"] == "better").any()
    first = copies.groupby("product").first()
    assert (first["question"] == "new information").all()
    assert (first["difference"] < LEAST_INFORMATION).all()


@pytest.mark.parametrize("name", INFORMED)
def test_a_little_of_the_truth_is_found(judged_controls: pd.DataFrame, name: str) -> None:
    mine = judged_controls[judged_controls["product"] == name]
    mine = mine.set_index(["question", "reference"])["verdict"]
    assert mine[("new information", BICUBIC)] == mine[("all hours", BICUBIC)] == "better"


def test_controls_need_a_finer_product(pairs: Pairs) -> None:
    with pytest.raises(NoDataError, match="nothing is finer than the baseline cams"):
        controls(given_with(pairs, grids=dict.fromkeys(GRIDS, COARSE)), np.random.default_rng(1))


def test_information_is_that_of_a_plain_regression(pairs: Pairs) -> None:
    """The same partial correlation from the residuals of two least-squares fits."""
    sample = make_sample(pairs)
    row = information(sample).query("product == 'good' and part == 'all'").iloc[0]
    table = pairs.table[pairs.table["good"].notna() & pairs.table[BICUBIC].notna()]
    series = {
        name: one.set_index("time_start")[BICUBIC].astype(float)
        for name, one in table.groupby("station_id", observed=True)
    }
    hour = np.timedelta64(1, "h")

    def around(shift: int) -> np.ndarray:
        made = [one.reindex(one.index + shift * hour).to_numpy() for one in series.values()]
        return np.concatenate(made)

    b = np.concatenate([one.to_numpy() for one in series.values()])
    shifted = {shift: around(shift) for shift in range(-12, 13)}
    knots = np.quantile(b, [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
    plain = table[LINEAR].to_numpy().astype(float)
    columns = [np.ones(len(b)), b, plain, *(np.maximum(b - one, 0) for one in knots)]
    columns += [np.where(np.isfinite(shifted[one]), shifted[one], b) for one in (-1, 1)]
    for half in (2, 4, 12):
        columns.append(np.nanmean([shifted[one] for one in range(-half, half + 1)], axis=0))
    columns.append(np.concatenate([np.full(len(one), one.mean()) for one in series.values()]))
    design = np.stack(columns, axis=1)
    left = [
        values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        for values in (table["good"].to_numpy().astype(float), table["observed"].to_numpy())
    ]
    assert row["partial_r"] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-5)
    assert row["partial_r_lo"] < row["partial_r"] < row["partial_r_hi"]


def test_departures_are_what_stays_and_what_moves() -> None:
    table = within_cells(make_sample(make_pairs(stations=30, days=4, towns=7)))
    rows = table[(table["product"] == "good") & (table["hours"] == "all")].set_index("part")
    parts = rows.loc[["static", "in time"], "variance_observed"]
    assert parts.sum() == pytest.approx(rows.loc["all", "variance_observed"], rel=0.02)
    assert (rows["r"] > 0.5).all()


def test_what_was_planted_is_the_verdict(found: Mapping[str, pd.DataFrame]) -> None:
    table = found["verdicts"].set_index(["product", "question", "reference"])["verdict"]
    moving = "within cells, in time"
    beside = "all hours", "interpolated hours", moving, "daily cycle", "periods of 2-6 h"
    for question, reference in [
        *(("analysis hours", "cams"), ("all hours", LINEAR), ("new information", BICUBIC)),
        *((question, BICUBIC) for question in beside),
    ]:
        assert table[("good", question, reference)] == "better"
        assert table[("bad", question, reference)] != "better"
    assert table[("bad", "all hours", LINEAR)] == "worse"


def test_sentences_say_the_numbers(found: Mapping[str, pd.DataFrame]) -> None:
    rows = found["verdicts"]
    row = rows[(rows["product"] == "good") & (rows["question"] == "analysis hours")].iloc[0]
    gain, near, far = -row["difference"], -row["hi"], -row["lo"]
    assert row["sentence"].startswith(
        f"On analysis hours good is better than cams in MAE: −{gain:.2f} µg m⁻³ "
        f"[−{far:.2f}, −{near:.2f}]; RMSE −"
    )
    assert f"(n = {row['n']:,} pairs, 40 stations)." in row["sentence"]
    assert not rows["sentence"].str.contains("nan|  |None").any()


def test_a_small_sample_is_named_as_such() -> None:
    few = make_pairs(stations=9, days=4, towns=2)
    frames = asked(few)
    assert frames is not None
    rows = frames["verdicts"]
    assert set(rows["verdict"]) == {"too small"}
    first = rows.set_index("question").loc["analysis hours", "sentence"].iloc[0]
    assert "9 stations (at least 10 needed), 4 days (at least 10 needed)" in first
    within = rows.set_index("question").loc["within cells", "sentence"]
    assert all(one.endswith("2 cells (at least 6 needed).") for one in np.atleast_1d(within))


def test_a_shuffled_product_is_not_better(pairs: Pairs) -> None:
    rng = np.random.default_rng(8)
    table = pairs.table.copy()
    some = table["good"].notna().to_numpy()
    table.loc[some, "good"] = rng.permutation(table.loc[some, "good"].to_numpy())
    shuffled = asked(Pairs(table, pairs.products))
    assert shuffled is not None
    rows = shuffled["verdicts"]
    assert not (rows.loc[rows["product"] == "good", "verdict"] == "better").any()


def test_no_finer_product_is_no_question(pairs: Pairs) -> None:
    same = dict.fromkeys(GRIDS, COARSE)
    assert asked(pairs, grids=same) is None
    # Taken from a fine product, the coarse one is no refinement either.
    assert asked(Pairs(pairs.table, ("cams", "good")), baseline="good") is None


def test_a_product_that_is_its_own_reference_is_compared_with_the_others(pairs: Pairs) -> None:
    table = pairs.table.rename(columns={LINEAR: "hourly"})
    hourly = Grid(COARSE.latitude, COARSE.longitude, 1.0, "point")
    frames = asked(
        Pairs(table, ("cams", "hourly")),
        references={LINEAR: "hourly", BICUBIC: BICUBIC},
        grids={"cams": COARSE, "hourly": hourly},
    )
    assert frames is not None
    rows = frames["added_value"]
    assert set(rows["reference"]) == {"cams", BICUBIC}
    kept = rows[(rows["reference"] == "cams") & (rows["stratum"] == "all")].iloc[0]
    assert (kept["d_mae"], kept["d_mae_lo"], kept["d_mae_hi"]) == (0, 0, 0)
    verdicts = frames["verdicts"].set_index("reference")
    assert verdicts.loc["cams", "verdict"] == "no difference that matters"


def test_intervals_cover_the_truth_of_a_population() -> None:
    """Stations drawn from a fixed population, whose difference in MAE is known exactly."""
    rng = np.random.default_rng(20)
    size, hours, drawn = 2000, 24, 50
    spread = rng.gamma(6, 0.5, (2, size))
    # The mean absolute value of a normal error is its spread times √(2/π).
    truth = float(np.sqrt(2 / np.pi) * (spread[0].mean() - spread[1].mean()))
    start = np.datetime64("2018-03-01", "us") + np.arange(hours) * HOUR
    latitude, longitude = rng.uniform(46, 53, size), rng.uniform(1, 11, size)
    hits = 0
    for _ in range(200):
        chosen = np.sort(rng.choice(size, drawn, replace=False))
        noise = rng.normal(size=(2, drawn, hours)) * spread[:, chosen, None]
        observed = np.full((drawn, hours), 30.0)
        table = by_station(start, observed, cams=30 + noise[1], good=30 + noise[0])
        table["latitude"] = np.repeat(latitude[chosen], hours)
        table["longitude"] = np.repeat(longitude[chosen], hours)
        # The observations vary by a hair, so that a correlation exists.
        table["observed"] += 1e-6 * rng.normal(size=len(table))
        one = make_sample(pairs_of(table, "cams", "good"), references={})
        row = compare(one).iloc[0]
        hits += bool(row["d_mae_lo"] <= truth <= row["d_mae_hi"])
    assert 180 <= hits <= 198
