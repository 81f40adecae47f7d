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
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import polars as pl

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.local import Missing, Outcome, check_space, sole_fetch
from deepcams_eval.fetch.openaq_archive import Answer, Archive, Listed
from deepcams_eval.fetch.openaq_catalogue import Catalogue, Wanted
from deepcams_eval.fetch.openaq_compact import Store, write_table
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


@dataclass(frozen=True)
class Estimate:
    """What a fetch of so many stations will bring: ``objects`` and their ``bytes``.

    ``already_there`` counts objects that are held as they are in the archive, ``unknown`` those
    under these prefixes that are not named as those of the archive are; they are left out.
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


def fetch_openaq(
    wanted: Wanted,
    data: Path,
    find_stations: Callable[[Wanted], Catalogue],
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
    wanted, data, archive
        What to fetch, into which data folder, from where.
    find_stations : callable
        Gives the catalogue of what is wanted; not called where an interrupted fetch has kept it.
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
    store = Store(data / "openaq")
    with ExitStack() as stack:
        if dry_run:
            plans = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            stack.enter_context(sole_fetch(store.root))
            store.recover()
            plans = store.root / _PLAN_FOLDER
        fetch = _Fetch(wanted, store, archive, _Plan(plans / _digest(wanted, archive)), report)
        catalogue = fetch.plan.catalogue(lambda: find_stations(wanted))
        if catalogue.stations.empty:
            raise InputError(
                "OpenAQ has no such PM2.5 station",
                hint="ask for other years, countries or a wider box",
            )
        estimate = fetch.estimate(catalogue.stations)
        if not confirm(estimate, catalogue) or dry_run:
            return None
        return fetch.run(catalogue.stations, estimate)


def _digest(wanted: Wanted, archive: Archive) -> str:
    said = json.dumps([*map(str, vars(wanted).values()), archive.address])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


class _Fetch:
    """One fetch: what is to come of some stations, and its coming."""

    def __init__(
        self, wanted: Wanted, store: Store, archive: Archive, plan: _Plan, report: Report
    ) -> None:
        self.plan = plan
        self._wanted, self._store, self._archive, self._report = wanted, store, archive, report
        self._held = store.held()
        self._groups = 0

    def estimate(self, stations: pd.DataFrame) -> Estimate:
        """List the objects of all stations and return how much is to be fetched."""
        years = self._wanted.years
        # Ordered as text, as keys are: the parts of a group then hold one range of keys.
        names = sorted(set(stations["station_id"]))
        groups = [
            _spans([int(name) for name in names[first : first + _LOCATIONS_PER_GROUP]], years)
            for first in range(0, len(names), _LOCATIONS_PER_GROUP)
        ]
        self._groups = len(groups)
        objects = size = there = unknown = done = 0
        for number, spans in enumerate(groups):
            if not self.plan.path(number).is_file():
                listed, others = self._archive.list_objects(spans)
                self.plan.keep(number, [one for one in listed if _in_years(one.day, years)])
                unknown += others
            done += len(spans)
            self._report("listing", done, sum(map(len, groups)))
            listing = self.plan.listing(number)
            to_fetch = self._not_held(listing)
            objects, size = objects + len(to_fetch), size + int(to_fetch["size"].sum())
            there += len(listing) - len(to_fetch)
        return Estimate(len(names), objects, size, there, unknown)

    def run(self, stations: pd.DataFrame, estimate: Estimate) -> Outcome:
        """Fetch what was estimated, and forget the plan once all of it was asked for."""
        root = self._store.root
        check_space(root, estimate.bytes + _MANIFEST_BYTES * estimate.objects)
        _write_stations(root / STATIONS_FILE, stations)
        fetched, size, missing = self._objects(estimate)
        missing += [
            Missing(code, "no PM2.5 station in these years")
            for code in self._wanted.countries
            if code not in set(stations["country"])
        ]
        self.plan.remove()
        return Outcome("openaq", fetched, estimate.already_there, size, tuple(missing))

    def _not_held(self, listing: pl.DataFrame) -> pl.DataFrame:
        # Of millions that are held, a join needs those of these stations only.
        locations = listing["location"].unique().implode()
        some = self._held.filter(pl.col("location").is_in(locations))
        return listing.join(some, on=["location", "day", "etag"], how="anti", maintain_order="left")

    def _jobs(self) -> Iterator[tuple[list[Listed], Path | None]]:
        """Yield objects that become one part: a new one of a month, or that of an entry."""
        day = ["location", "day"]
        columns = list(Listed._fields)
        for number in range(self._groups):
            to_fetch = self._not_held(self.plan.listing(number))
            known = self._held.select(*day, "entry").join(to_fetch, on=day, how="semi")
            marked = to_fetch.join(
                known.unique(day), on=day, how="left", maintain_order="left"
            ).with_columns(month=pl.col("day") // 100, entry=pl.col("entry").cast(pl.String))
            marked = marked.sort("month", "key")
            for by, chosen in (
                ("month", marked.filter(pl.col("entry").is_null())),
                ("entry", marked.filter(pl.col("entry").is_not_null())),
            ):
                for (name,), some in chosen.group_by(by, maintain_order=True):
                    objects = [Listed(*row) for row in some.select(columns).iter_rows()]
                    yield objects, Path(str(name)) if by == "entry" else None

    def _objects(self, estimate: Estimate) -> tuple[int, int, list[Missing]]:
        """Fetch one job's objects while those of the job before are compacted."""
        fetched = size = done = 0
        told = time.monotonic()

        def one_done() -> None:
            """Tell, from many threads, now and then."""
            nonlocal done, told
            done += 1
            if time.monotonic() - told > 0.2 or done == estimate.objects:
                told = time.monotonic()
                self._report("archive objects", done, estimate.objects)

        missing: list[Missing] = []
        jobs = self._jobs()
        with ThreadPoolExecutor(1) as ahead, ExitStack() as unless_done:
            # Requests ahead would be waited for otherwise, when the work ends early.
            unless_done.callback(self._archive.stop)

            def start() -> tuple[Path | None, Future[list[Answer]]] | None:
                job = next(jobs, None)
                if job is None:
                    return None
                return job[1], ahead.submit(self._archive.fetch, job[0], one_done)

            following = start()
            while following is not None:
                entry, answer = following
                batch = answer.result()
                following = start()
                came = [one.listed for one in batch if one.text is not None]
                missed = [Missing(one.listed.key, one.reason) for one in batch if one.text is None]
                if came:
                    self._store.put(batch, entry)
                else:
                    _require_answers(missed, self._archive)
                fetched += len(came)
                size += sum(one.size for one in came)
                missing += missed
                self._report("archive MB", round(size / 1e6), round(estimate.bytes / 1e6))
            unless_done.pop_all()
        return fetched, size, missing


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


def _require_answers(missed: Sequence[Missing], archive: Archive) -> None:
    """Raise `InputError` if none of some objects came because the archive gives none."""
    silent = all(one.reason.startswith(("given up", "the archive refuses")) for one in missed)
    if len(missed) > 1 and silent:
        raise InputError(
            f"the archive gives none of {len(missed)} objects ({missed[0].reason})",
            path=archive.address,
            hint="run the command again later: what is complete is kept",
        )


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
