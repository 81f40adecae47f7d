"""OpenAQ from nothing to compacted Parquet: stations by the API, measurements by the archive."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import polars as pl

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.local import Missing, Outcome, check_space, sole_fetch
from deepcams_eval.fetch.openaq_archive import Archive, Fetched, Listed, Missed
from deepcams_eval.fetch.openaq_catalogue import Catalogue, Wanted
from deepcams_eval.fetch.openaq_compact import Store, compact, write_table
from deepcams_eval.read.openaq_parts import MANIFEST_COLUMNS

STATIONS_FILE = "stations.parquet"
OBJECTS_PER_SECOND = 1000
BYTES_PER_SECOND = 10_000_000
"""What the estimate of time assumes of the archive and the line to it, whichever is slower."""

_PLAN_FOLDER = "_plan"
_PLAN_LASTS_S = 7 * 86_400
_LOCATIONS_PER_GROUP = 128
_MANIFEST_BYTES = 100

Report = Callable[[str, int, int], None]
FindStations = Callable[[Wanted], Catalogue]


@dataclass(frozen=True)
class Estimate:
    """What a fetch will bring.

    Attributes
    ----------
    stations : int
    objects, bytes : int
        To fetch.
    already_there : int
        Objects that are held as they are in the archive.
    unknown : int
        Objects under these prefixes that are not named as those of the archive are; left out.
    """

    stations: int
    objects: int
    bytes: int
    already_there: int
    unknown: int

    @property
    def hours(self) -> float:
        """Hours, at `OBJECTS_PER_SECOND` or `BYTES_PER_SECOND`, whichever takes longer."""
        return max(self.objects / OBJECTS_PER_SECOND, self.bytes / BYTES_PER_SECOND) / 3600


@dataclass(frozen=True)
class _Job:
    """Objects that become one part: a new one of a month, or one that exists."""

    objects: list[Listed]
    entry: Path | None = None

    @property
    def month(self) -> tuple[int, int]:
        return self.objects[0].day // 10_000, self.objects[0].day // 100 % 100


def fetch_openaq(
    wanted: Wanted,
    data: Path,
    find_stations: FindStations,
    archive: Archive,
    *,
    confirm: Callable[[Estimate, Catalogue], bool],
    report: Report,
    dry_run: bool = False,
) -> Outcome | None:
    """Fetch PM2.5 of the wanted stations and years into ``data/openaq``.

    What is held as the archive has it is not fetched again. An interrupted fetch is resumed with
    the stations and the list of objects that it had, up to a week; one that came to its end asks
    for them anew.

    Parameters
    ----------
    wanted : Wanted
    data : Path
        The data folder.
    find_stations : callable
        Gives the catalogue of what is wanted; not called where an interrupted fetch has kept it.
    archive : Archive
    confirm : callable
        Asked before the first object; nothing is fetched unless it returns True.
    report : callable
        Called with a step, the number of things done and their total.
    dry_run : bool
        Whether to stop after `confirm`; nothing is written then.

    Returns
    -------
    Outcome or None
        Files are objects of the archive. None if it was a dry run or not confirmed.

    Raises
    ------
    InputError
        If a service cannot be used or the disk is full.
    """
    root = data / "openaq"
    store = Store(root)
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            _prepare(
                wanted, store, find_stations, archive, _Plan(Path(folder) / "plan"), confirm, report
            )
        return None
    with sole_fetch(root):
        store.recover()
        plan = _Plan(root / _PLAN_FOLDER / _digest(wanted, archive.address))
        prepared = _prepare(wanted, store, find_stations, archive, plan, confirm, report)
        return prepared and _fetch(wanted, store, archive, plan, *prepared, report)


def _prepare(
    wanted: Wanted,
    store: Store,
    find_stations: FindStations,
    archive: Archive,
    plan: _Plan,
    confirm: Callable[[Estimate, Catalogue], bool],
    report: Report,
) -> tuple[Catalogue, pl.DataFrame, Estimate] | None:
    """Find stations and objects; return them, what is held and how much to fetch if confirmed."""
    catalogue = plan.catalogue(lambda: find_stations(wanted))
    if catalogue.stations.empty:
        raise InputError(
            "OpenAQ has no such PM2.5 station", hint="ask for other years, countries or a wider box"
        )
    held = store.held()
    estimate = _estimate(_groups(catalogue), wanted, archive, plan, held, report)
    return (catalogue, held, estimate) if confirm(estimate, catalogue) else None


def _fetch(
    wanted: Wanted,
    store: Store,
    archive: Archive,
    plan: _Plan,
    catalogue: Catalogue,
    held: pl.DataFrame,
    estimate: Estimate,
    report: Report,
) -> Outcome:
    check_space(store.root, estimate.bytes + _MANIFEST_BYTES * estimate.objects)
    _write_stations(store.root / STATIONS_FILE, catalogue.stations)
    numbers = range(len(_groups(catalogue)))
    jobs = (job for number in numbers for job in _jobs(plan.listing(number), held))
    fetched, size, missing = _run(jobs, store, archive, estimate, report)
    missing += [
        Missing(code, "no PM2.5 station in these years")
        for code in wanted.countries
        if code not in set(catalogue.stations["country"])
    ]
    plan.remove()
    return Outcome("openaq", fetched, estimate.already_there, size, tuple(missing))


def _digest(wanted: Wanted, address: str) -> str:
    said = json.dumps([*map(str, vars(wanted).values()), address])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _groups(catalogue: Catalogue) -> list[list[int]]:
    # Ordered as text, as keys are: the parts of a group then hold one range of keys.
    stations = sorted(set(catalogue.stations["station_id"]))
    step = _LOCATIONS_PER_GROUP
    return [
        [int(station) for station in stations[first : first + step]]
        for first in range(0, len(stations), step)
    ]


def _spans(stations: Sequence[int], years: Sequence[int]) -> list[tuple[int, int, int | None]]:
    """Return what to list: the years, and the months with the day before and the day after them.

    A file holds a day of the station's own clock, which is up to 14 h away from UTC.
    """
    edges: list[tuple[int, int | None]] = [(year, None) for year in years]
    edges += [(year - 1, 12) for year in years if year - 1 not in years]
    edges += [(year + 1, 1) for year in years if year + 1 not in years]
    return [(station, year, month) for station in stations for year, month in edges]


def _in_years(day: int, years: Sequence[int]) -> bool:
    year, rest = divmod(day, 10_000)
    return (
        year in years or (rest == 1231 and year + 1 in years) or (rest == 101 and year - 1 in years)
    )


def _estimate(
    groups: Sequence[Sequence[int]],
    wanted: Wanted,
    archive: Archive,
    plan: _Plan,
    held: pl.DataFrame,
    report: Report,
) -> Estimate:
    total = Estimate(sum(map(len, groups)), 0, 0, 0, 0)
    spans = [_spans(group, wanted.years) for group in groups]
    count, done = sum(map(len, spans)), 0
    for number, some in enumerate(spans):
        if not plan.path(number).is_file():
            listed, unknown = archive.list_objects(some)
            plan.keep(number, [one for one in listed if _in_years(one.day, wanted.years)])
            total = replace(total, unknown=total.unknown + unknown)
        done += len(some)
        report("listing", done, count)
        listing = plan.listing(number)
        to_fetch = _not_held(listing, held)
        total = replace(
            total,
            objects=total.objects + len(to_fetch),
            bytes=total.bytes + int(to_fetch["size"].sum()),
            already_there=total.already_there + len(listing) - len(to_fetch),
        )
    return total


def _not_held(listing: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    # Of millions that are held, a join needs those of these stations only.
    some = held.filter(pl.col("location").is_in(listing["location"].unique().implode()))
    return listing.join(some, on=["location", "day", "etag"], how="anti", maintain_order="left")


def _jobs(listing: pl.DataFrame, held: pl.DataFrame) -> Iterator[_Job]:
    to_fetch = _not_held(listing, held)
    known = held.select("location", "day", "entry").join(
        to_fetch, on=["location", "day"], how="semi"
    )
    marked = to_fetch.join(
        known.unique(["location", "day"]), on=["location", "day"], how="left", maintain_order="left"
    )
    marked = marked.with_columns(month=pl.col("day") // 100).sort("month", "key")
    new = marked.filter(pl.col("entry").is_null())
    changed = marked.filter(pl.col("entry").is_not_null())
    columns = list(Listed._fields)
    for _, some in new.group_by("month", maintain_order=True):
        yield _Job([Listed(*row) for row in some.select(columns).iter_rows()])
    for (entry,), some in changed.group_by(pl.col("entry").cast(pl.String), maintain_order=True):
        objects = [Listed(*row) for row in some.select(columns).iter_rows()]
        yield _Job(objects, Path(str(entry)))


def _run(
    jobs: Iterator[_Job], store: Store, archive: Archive, estimate: Estimate, report: Report
) -> tuple[int, int, list[Missing]]:
    """Fetch one job's objects while those of the job before are compacted."""
    fetched = size = done = 0
    told = time.monotonic()

    def one_done() -> None:
        """Tell, from many threads, now and then."""
        nonlocal done, told
        done += 1
        if time.monotonic() - told > 0.2 or done == estimate.objects:
            told = time.monotonic()
            report("archive objects", done, estimate.objects)

    missing: list[Missing] = []
    with ThreadPoolExecutor(1) as ahead, ExitStack() as unless_done:
        # Requests ahead would be waited for otherwise, when the work ends early.
        unless_done.callback(archive.stop)

        def start() -> tuple[_Job, Future[list[Fetched | Missed]]] | None:
            job = next(jobs, None)
            if job is None:
                return None
            return job, ahead.submit(archive.fetch, job.objects, one_done)

        following = start()
        while following is not None:
            job, answer = following
            batch = answer.result()
            following = start()
            missed = [item.missing for item in batch if isinstance(item, Missed)]
            came = [item for item in batch if isinstance(item, Fetched)]
            _require_answers(came, missed, archive)
            if came:
                _compact(job, store, batch)
            fetched += len(came)
            size += sum(item.listed.size for item in came)
            missing += missed
            report("archive MB", round(size / 1e6), round(estimate.bytes / 1e6))
        unless_done.pop_all()
    return fetched, size, missing


def _require_answers(came: Sequence[Fetched], missed: Sequence[Missing], archive: Archive) -> None:
    silent = [one for one in missed if one.reason.startswith(("given up", "the archive refuses"))]
    if len(missed) > 1 and not came and len(silent) == len(missed):
        raise InputError(
            f"the archive gives none of {len(missed)} objects ({missed[0].reason})",
            path=archive.address,
            hint="run the command again later: what is complete is kept",
        )


def _compact(job: _Job, store: Store, batch: Sequence[Fetched | Missed]) -> None:
    compacted = compact([item.text for item in batch if isinstance(item, Fetched)])
    if job.entry is None:
        store.add(*job.month, compacted, batch)
    else:
        store.replace(job.entry, compacted, batch)


class _Plan:
    """What an interrupted fetch had found out: the stations, and the objects of each group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stations = folder / STATIONS_FILE
        made = self._stations.stat().st_mtime if self._stations.is_file() else 0.0
        if time.time() - made > _PLAN_LASTS_S:
            self.remove()

    def catalogue(self, find: Callable[[], Catalogue]) -> Catalogue:
        if self._stations.is_file():
            return Catalogue(pd.read_parquet(self._stations), {})
        catalogue = find()
        write_table(self._stations, pl.from_pandas(catalogue.stations))
        return catalogue

    def path(self, number: int) -> Path:
        return self._folder / f"group-{number:05d}.parquet"

    def keep(self, number: int, listed: Sequence[Listed]) -> None:
        schema = {name: MANIFEST_COLUMNS[name] for name in Listed._fields}
        write_table(self.path(number), pl.DataFrame(listed, schema=schema, orient="row"))

    def listing(self, number: int) -> pl.DataFrame:
        return pl.read_parquet(self.path(number))

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._folder.parent.is_dir() and not any(self._folder.parent.iterdir()):
            self._folder.parent.rmdir()


def _write_stations(path: Path, stations: pd.DataFrame) -> None:
    """Write the station file; stations that earlier fetches found stay in it."""
    if path.is_file():
        before = pd.read_parquet(path)
        others = before[~before["station_id"].isin(stations["station_id"])]
        stations = pd.concat([others, stations], ignore_index=True)
    order = stations.sort_values(["station_id", "sensor_id"], ignore_index=True)
    write_table(path, pl.from_pandas(order))
