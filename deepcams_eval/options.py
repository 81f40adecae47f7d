"""Every option of a run, once: its name, its default, what it says of itself, and its check.

The command line, the functions of `deepcams_eval.api`, ``run.json`` and saved pairs are made from
these records. A check takes what a command line gives (text) as well as what a script gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from deepcams_eval.errors import OptionError

if TYPE_CHECKING:
    from deepcams_eval.downscale import Task
    from deepcams_eval.pair.qc import QcSettings
    from deepcams_eval.pair.samples import Sample
    from deepcams_eval.read.product import ProductSpec

Given = TypeVar("Given")
Kept = TypeVar("Kept")

Average = Literal["hour", "day", "month", "year"]
AVERAGES: tuple[Average, ...] = ("hour", "day", "month", "year")
SCORING = ("baseline", "sample", "average", "added_value", "seed")
"""Options of `InsituOptions` that saved pairs keep, and that can be given anew to score them."""

MONTHS_AT_A_TIME = 12
"""A cluster is given all months at once: how many workers it has is its own affair."""

Progress = Callable[[str, int, int], None]
"""Takes the name of a step, the units done and the units in all."""
Compute = Callable[[Sequence[Any]], Sequence[Any]]
"""Runs dask tasks, and returns their results in the same order."""

FilePath = Path | str
Paths = FilePath | Sequence[FilePath]
Numbers = int | str | Iterable[int]
Names = str | Iterable[str]
Named = Mapping[str, FilePath] | Sequence[Any]
Hours = Mapping[str, float] | Sequence[str]
Thresholds = Mapping[str, Any] | Sequence[str]
Box = tuple[float, float, float, float]
_SPELLED = {
    name: re.sub(r"(\w+\.)+", "", str(globals()[name]))
    for name in (
        *("FilePath", "Paths", "Numbers", "Names", "Named", "Hours", "Thresholds", "Box"),
        *("Compute", "Progress"),
    )
}
"""What stands behind a name for a reader of ``help``."""
_MOST_HOURS, _MONTHS_A_YEAR, _FIRST_YEAR, _LAST_YEAR = 24, 12, 1900, 2200
_LISTS, _OF_RULES = ("sentinels", "disabled"), ("years", "months", "reference_only")
_TASK_KEY = "task="
_REQUIRED: Any = object()


@dataclass(eq=False)
class Option(Generic[Given, Kept]):
    """One option: a field of a record that checks what it is given.

    Parameters
    ----------
    check : callable
        Returns what is kept, or raises `OptionError` with what is wrong, without the name.
    help : str
        What the command line says, and the documentation of the function if `script` is empty.
    default
        As `check` takes it; without one the option is required.
    flag : str, optional
        On the command line, if it is not the name.
    of : type
        What the command line reads: str, int, Path or bool.
    many : bool
        Whether the flag may be repeated.
    least, most : int, optional
        Bounds on the command line.
    shown : str, optional
        The default as the command line shows it.
    beside : str, optional
        Name of an option set before, which `check` takes too.
    script : str, optional
        What the documentation of the function says.
    """

    check: Callable[..., Kept]
    help: str
    default: Any = _REQUIRED
    _: KW_ONLY
    flag: str = ""
    of: type = str
    many: bool = False
    least: int | None = None
    most: int | None = None
    shown: str | None = None
    beside: str | None = None
    script: str = ""

    def __post_init__(self) -> None:
        self.script = self.script or self.help
        self.of = bool if isinstance(self.default, bool) else self.of

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.flag = self.flag or f"--{name.replace('_', '-')}"

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is _REQUIRED

    def __get__(self, record: object | None, owner: type) -> Kept:
        # A dataclass asks its class for the default.
        kept = {self.name: self.default} if record is None else record.__dict__
        if kept.get(self.name, _REQUIRED) is _REQUIRED:
            raise AttributeError(self.name)
        return cast("Kept", kept[self.name])

    def __set__(self, record: object, value: Given) -> None:
        more = () if self.beside is None else (getattr(record, self.beside),)
        try:
            record.__dict__[self.name] = self.check(value, *more)
        except OptionError as error:
            raise OptionError(
                f"{self.name} {error.problem}", hint=error.hint, flag=self.flag
            ) from None


def options_of(record: type) -> dict[str, Option[Any, Any]]:
    """Return the options of a record by name, in order."""
    return {name: one for name, one in vars(record).items() if isinstance(one, Option)}


def parameters_of(record: type) -> str:
    """Return the options of a record as a list of parameters, in NumPy style."""
    lines: list[str] = []
    for name, option in options_of(record).items():
        kind = annotation_of(record, name).removesuffix(" | None")
        end = "" if option.required else ", optional"
        lines += [f"    {name} : {kind}{end}", f"        {option.script}"]
    return "\n".join(lines).strip()


def annotation_of(record: type, name: str) -> str:
    """Return what a field of a record may be given, without names of this module."""
    said = str(record.__annotations__[name])
    if said.startswith("Option["):
        said = said.removeprefix("Option[").split(", ")[0]
    return re.sub(r"\w+", lambda word: _SPELLED.get(word[0], word[0]), said)


def numbers(low: int, high: int) -> Callable[[Numbers], tuple[int, ...]]:
    """Return the check of whole numbers such as 2017, [2017, 2019] or ``2017-2019``."""

    def check(given: Numbers) -> tuple[int, ...]:
        if not isinstance(given, str):
            try:
                # A number of numpy or xarray can be iterable in name.
                return (index(cast("int", given)),)
            except TypeError:
                return tuple(sorted({index(one) for one in cast("Iterable[int]", given)}))
        found: set[int] = set()
        for part in given.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if first > last or first < low or last > high:
                raise OptionError(
                    f"has {part!r}, which is no number or range from {low} to {high}",
                    hint=f"write {low + 1}-{low + 3} or {low + 1},{low + 3}",
                )
            found.update(range(first, last + 1))
        return tuple(sorted(found))

    return check


def box(given: Box | str) -> Box:
    """Check west, south, east and north in degrees, as numbers or as ``W,S,E,N``."""
    try:
        west, south, east, north = map(float, given.split(",") if isinstance(given, str) else given)
    except ValueError:
        raise OptionError(f"is {given!r}, not W,S,E,N in degrees") from None
    if not (-90 <= south < north <= 90 and -180 <= west <= 360 and -180 <= east <= 360):
        raise OptionError(
            f"is {given!r}, which is no box",
            hint="south < north within ±90, west and east within -180 to 360",
        )
    return west, south, east, north


def names(given: Names) -> tuple[str, ...]:
    """Check names, as a list or with commas between them."""
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(part.strip() for part in parts if part.strip())


def one_of(allowed: Callable[[], Iterable[str]]) -> Callable[[str], Any]:
    """Return the check of one of some words."""

    def check(given: str) -> str:
        known = tuple(allowed())
        if given not in known:
            raise OptionError(f"is {given!r}", hint=f"use one of {', '.join(known)}")
        return given

    return check


def or_none(check: Callable[..., Kept]) -> Callable[..., Kept | None]:
    """Return a check that lets None be."""
    return lambda given, *more: None if given is None else check(given, *more)


def _paths(given: Paths) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


def _products(given: Named | None) -> tuple[ProductSpec, ...]:
    from deepcams_eval.read.product import ProductSpec

    return tuple(
        ProductSpec.parse(one) if isinstance(one, str) else one for one in _pairs_as_text(given)
    )


def _pairs_as_text(given: Named | None) -> Sequence[Any]:
    if isinstance(given, Mapping):
        return [f"{name}={path}" for name, path in given.items()]
    return (given,) if isinstance(given, str) else given or ()


def _shifts(given: Hours | None) -> dict[str, float]:
    if isinstance(given, Mapping):
        return {provider: float(hours) for provider, hours in given.items()}
    shifts: dict[str, float] = {}
    for text in (given,) if isinstance(given, str) else given or ():
        match = re.fullmatch(r"\s*(\S.*?)\s*=\s*([+-]?\d+(?:\.\d+)?)\s*h\s*", text)
        if match is None or abs(float(match[2])) > _MOST_HOURS:
            raise OptionError(
                f"has {text!r}, no PROVIDER=HOURS of at most {_MOST_HOURS} h",
                hint="write it as 'A Network=-1h'",
            )
        if match[1] in shifts:
            raise OptionError(f"has {match[1]!r} twice")
        shifts[match[1]] = float(match[2])
    return shifts


def _thresholds(given: Thresholds | None) -> dict[str, Any]:
    """Check names alone; values are checked by `QcSettings`."""
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        texts = (given,) if isinstance(given, str) else given or ()
        parts = [text.partition("=") for text in texts]
        for text in ("".join(part) for part in parts if not part[1]):
            raise OptionError(f"has {text!r}, which is no KEY=VALUE of the quality control")
        found = {
            key: [one.strip() for one in value.split(",")] if key in _LISTS else value
            for key, _, value in parts
        }
    for name in set(found) & set(_OF_RULES):
        raise OptionError(f"has {name}={found[name]}, which is an option of its own")
    return found


def _average(given: str) -> Average:
    return cast("Average", one_of(lambda: AVERAGES)("hour" if given == "1h" else given))


def _degradations() -> Iterable[str]:
    from deepcams_eval.downscale.degrade import DEGRADATIONS

    return DEGRADATIONS


def _tasks(given: str | Sequence[str]) -> tuple[Task, ...]:
    from deepcams_eval.downscale import TASKS

    if given == "all":
        return TASKS
    asked = (given,) if isinstance(given, str) else tuple(given)
    for one in asked or ("",):
        one_of(lambda: (*TASKS, "all"))(one)
    return tuple(task for task in TASKS if task in asked or "all" in asked)


def _truth(given: FilePath | ProductSpec) -> ProductSpec:
    from deepcams_eval.read.product import ProductSpec

    return given if isinstance(given, ProductSpec) else ProductSpec.parse(f"truth={given}")


def _training(given: Numbers, year: int) -> tuple[int, ...]:
    years = _YEARS(given)
    if year in years:
        raise OptionError(f"has {year}, the year that is scored", hint="leave it out")
    return years


@dataclass(frozen=True)
class PredictionSpec:
    """Files of somebody else's model, and the task in whose table they stand."""

    product: ProductSpec
    task: Task


@dataclass(frozen=True)
class CheckpointSpec:
    """A trained network, and what to call it."""

    name: str
    path: Path


def _predictions(given: Named | None, tasks: Sequence[Task]) -> tuple[PredictionSpec, ...]:
    return tuple(_prediction(one, tasks) for one in _pairs_as_text(given))


def _prediction(given: str | PredictionSpec, tasks: Sequence[Task]) -> PredictionSpec:
    """Return a prediction and the task that its path names, else the only one, else ``joint``."""
    from deepcams_eval.downscale import TASKS
    from deepcams_eval.read.product import ProductSpec

    spec, shown = given, given
    if isinstance(spec, str):
        parts = spec.split(",")
        said = [part.removeprefix(_TASK_KEY) for part in parts if part.startswith(_TASK_KEY)]
        wanted = cast("Task", said[-1] if said else tasks[0] if len(tasks) == 1 else "joint")
        rest = ",".join(part for part in parts if not part.startswith(_TASK_KEY))
        spec = PredictionSpec(ProductSpec.parse(rest), wanted)
    else:
        shown = spec.product.name
    if spec.task not in TASKS:
        raise OptionError(f"has the task {spec.task!r}", hint=f"use one of {', '.join(TASKS)}")
    if spec.task not in tasks:
        raise OptionError(
            f"has {shown!r} of the task {spec.task}, and only {', '.join(tasks)} is run",
            hint=f"add {_TASK_KEY}{tasks[0]} or choose another task",
        )
    return spec


def _checkpoints(given: Named | None) -> tuple[CheckpointSpec, ...]:
    if isinstance(given, Mapping):
        return tuple(CheckpointSpec(name, Path(path)) for name, path in given.items())
    return tuple(_checkpoint(one) if isinstance(one, str) else one for one in _pairs_as_text(given))


def _checkpoint(text: str) -> CheckpointSpec:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise OptionError(f"has {text!r}, which is no NAME=PATH")
    return CheckpointSpec(name, Path(path))


_YEARS = numbers(_FIRST_YEAR, _LAST_YEAR)
_SEED: Option[int, int] = Option(
    index, "Seed of what is drawn; intervals draw nothing.", 0, of=int, least=0
)
_STRICT: Option[bool, bool] = Option(bool, "Stop at the first damaged file.", False)


@dataclass(frozen=True)
class InsituOptions:
    """How products are validated against stations; `deepcams_eval.insitu` explains each option.

    Raises
    ------
    OptionError
        If an option has a value that it cannot have.
    """

    years: Option[Numbers, tuple[int, ...]] = Option(
        _YEARS, "Years, such as 2017-2019 or 2017,2019."
    )
    _: KW_ONLY
    data: Option[FilePath | None, FilePath | None] = Option(
        lambda given: given,
        "Folder with openaq/, cams/, geoscf/ and deepcams/, or 'demo'.",
        None,
        script="Folder with ``openaq/``, ``cams/``, ``geoscf/`` and ``deepcams/``, or ``'demo'`` "
        "for a\n        synthetic archive, made once. Without it and `observations` "
        "``$DEEPCAMS_DATA``, then\n        ``./data``.",
    )
    observations: Option[Paths, tuple[Path, ...]] = Option(
        _paths,
        "File, folder or glob of observations in any OpenAQ form; repeatable.",
        (),
        many=True,
    )
    products: Option[Named | None, tuple[ProductSpec, ...]] = Option(
        _products,
        "NAME=PATH[,key=value]…, or NAME=linear:PARENT; repeatable.",
        None,
        flag="--product",
        many=True,
        script="By name a path, with ``,key=value`` behind it where the files do not say enough, "
        "or\n        ``linear:PARENT``; beside those in `data`.",
    )
    stations: Option[FilePath | None, Path | None] = Option(
        or_none(Path), "Station file: coordinates, provider, country.", None, of=Path
    )
    months: Option[Numbers | None, tuple[int, ...] | None] = Option(
        or_none(numbers(1, _MONTHS_A_YEAR)), "Months of each year, such as 6-8.", None
    )
    bbox: Option[Box | str | None, Box | None] = Option(
        or_none(box),
        "Stations in the box W,S,E,N only.",
        None,
        script="West, south, east, north in degrees; west > east crosses the date line.",
    )
    countries: Option[Names, tuple[str, ...]] = Option(
        lambda given: tuple(code.upper() for code in names(given)),
        "Stations in these countries only, such as BE,FR.",
        (),
        script="ISO 3166-1 alpha-2 codes; all if empty.",
    )
    shifts: Option[Hours | None, dict[str, float]] = Option(
        _shifts,
        "PROVIDER=HOURS: hours to add to a provider's times, such as 'A Network=-1h'; repeatable.",
        None,
        flag="--shift",
        many=True,
        script="Hours to add to the times of a provider's records, by provider.",
    )
    baseline: Option[str | None, str | None] = Option(
        or_none(str),
        "Product that differences are taken from.",
        None,
        script="Product that differences are taken from; ``cams``, else the first.",
    )
    sample: Option[str, Sample] = Option(
        one_of(lambda: ("common", "own")), "Sample of tables and figures: common or own.", "common"
    )
    reference_only: Option[bool, bool] = Option(
        bool, "Use reference-grade instruments only.", False
    )
    qc: Option[Thresholds | None, dict[str, Any]] = Option(
        _thresholds,
        "KEY=VALUE: a threshold of the quality control, such as negative_below=0, stuck_hours=48 "
        "or disabled=stuck,mobile; repeatable.",
        None,
        many=True,
        script="Thresholds of the quality control by name, as in "
        "`deepcams_eval.pair.qc.QcSettings`.",
    )
    average: Option[str, Average] = Option(
        _average,
        "Score hours (1h), or means over a day, month or year, where complete.",
        "hour",
        shown="1h",
    )
    added_value: Option[bool, bool] = Option(
        bool, "Compare products finer than the baseline with interpolations of it.", True
    )
    sensitivity: Option[bool, bool] = Option(
        bool, "Score all again under other choices; reads the products twice more.", True
    )
    seed: Option[int, int] = _SEED
    strict: Option[bool, bool] = _STRICT
    compute: Compute | None = field(default=None, repr=False, compare=False)
    progress: Progress | None = field(default=None, repr=False, compare=False)

    @cached_property
    def rules(self) -> QcSettings:
        """The settings of the quality control, with years, months and instruments."""
        from deepcams_eval.pair.qc import QcSettings

        of_rules: dict[str, Any] = {name: getattr(self, name) for name in _OF_RULES}
        return QcSettings(**of_rules, **self.qc)

    @property
    def restricted(self) -> bool:
        """Whether months or stations are left out on purpose."""
        months = self.months is not None and len(self.months) < _MONTHS_A_YEAR
        return months or self.bbox is not None or bool(self.countries) or self.reference_only

    def settings(self, workers: int) -> dict[str, Any]:
        """Return what ``run.json`` says of the options; `workers` read the observations."""
        kept = [
            name for name in options_of(InsituOptions) if name not in ("data", "qc", *_OF_RULES)
        ]
        said = {name: getattr(self, name) for name in kept}
        said["products"] = [asdict(spec) for spec in self.products]
        return {**said, "workers": workers, "qc": self.rules.model_dump(mode="json")}


@dataclass(frozen=True)
class SimulationOptions:
    """How methods are benchmarked; `deepcams_eval.simulation` explains each option.

    Raises
    ------
    OptionError
        If an option has a value that it cannot have.
    """

    year: Option[int, int] = Option(
        index, "The year to score.", of=int, least=_FIRST_YEAR, most=_LAST_YEAR
    )
    _: KW_ONLY
    data: Option[FilePath | None, FilePath | None] = Option(
        lambda given: given,
        "Folder in the standard layout, or 'demo' for a synthetic archive.",
        None,
        script="Folder whose ``geoscf/`` is the truth, or ``'demo'``; else as in `insitu`.",
    )
    truth: Option[FilePath | ProductSpec | None, ProductSpec | None] = Option(
        or_none(_truth), "Hourly fields, PATH[,key=value]…, instead of DIR/geoscf.", None
    )
    train_years: Option[Numbers | None, tuple[int, ...] | None] = Option(
        or_none(_training),
        "Years of the truth that methods learn from, such as 2018-2019; with --data those before "
        "--year.",
        None,
        beside="year",
        script="Years of the truth that methods learn from; if absent those before `year` with "
        "`data`, and\n        none with `truth`.",
    )
    task: Option[str | Sequence[str], tuple[Task, ...]] = Option(
        _tasks, "temporal, spatial, joint or all.", "all"
    )
    methods: Option[Names | None, tuple[str, ...] | None] = Option(
        or_none(names), "Names such as linear,dis or dis+bicubic; all that can run if absent.", None
    )
    predictions: Option[Named | None, tuple[PredictionSpec, ...]] = Option(
        _predictions,
        "NAME=PATH[,key=value]…: files of another model as a method; task=temporal, spatial or "
        "joint (the default) says which table; repeatable.",
        None,
        flag="--prediction",
        many=True,
        beside="task",
        script="Files of another model as a method, by name; ``,task=temporal`` behind the path "
        "says which\n        table where `task` leaves it open (``joint``).",
    )
    checkpoints: Option[Named | None, tuple[CheckpointSpec, ...]] = Option(
        _checkpoints,
        "NAME=PATH: a trained network, PATH.safetensors and PATH.json, as a method; the name of a "
        "registered method takes its place; repeatable.",
        None,
        flag="--checkpoint",
        many=True,
        script="Trained networks as methods, by name.",
    )
    degrade: Option[str, str] = Option(
        one_of(_degradations), "Operator in space: imresize, mean or node.", "imresize"
    )
    weights: Option[str, str] = Option(
        one_of(lambda: ("none", "area")),
        "Weights of cells in tables and figures: none or area.",
        "none",
    )
    seed: Option[int, int] = _SEED
    strict: Option[bool, bool] = _STRICT
    compute: Compute | None = field(default=None, repr=False, compare=False)
    progress: Progress | None = field(default=None, repr=False, compare=False)
    workers: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if not self.workers:
            alone = self.compute is None
            object.__setattr__(self, "workers", 1 if alone else MONTHS_AT_A_TIME)

    def settings(self) -> dict[str, Any]:
        """Return what ``run.json`` says of the options."""
        said = {
            "tasks" if name == "task" else name: getattr(self, name)
            for name in (*options_of(SimulationOptions), "workers")
            if name != "data"
        }
        said["truth"] = None if self.truth is None else asdict(self.truth)
        for name in ("predictions", "checkpoints"):
            said[name] = [asdict(one) for one in said[name]]
        return said


@dataclass(frozen=True)
class PaperOptions:
    """What is made of the paper's tables and figures; the names are those of the options.

    Raises
    ------
    OptionError
        If an option has a value that it cannot have.
    """

    _: KW_ONLY
    data: Option[FilePath | None, FilePath | None] = Option(
        lambda given: given, "Folder with openaq/, cams/, deepcams/ and geoscf/, or 'demo'.", None
    )
    years: Option[Numbers, tuple[int, ...]] = Option(
        _YEARS, "Years against stations, such as 2017-2019.", "2017-2019"
    )
    year: Option[int, int] = Option(
        index, "Year of the simulation.", 2020, of=int, least=_FIRST_YEAR, most=_LAST_YEAR
    )
    methods: Option[Names | None, tuple[str, ...] | None] = Option(
        or_none(names),
        "Methods of the simulation, such as linear,bicubic; all if absent.",
        None,
    )
    seed: Option[int, int] = Option(
        index, "Seed of what is drawn; intervals draw nothing.", 0, of=int, least=0
    )
    strict: Option[bool, bool] = _STRICT
    workers: int = field(default=1, repr=False)
