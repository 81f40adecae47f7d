"""Methods of strangers: listed without being imported, loaded, and refused where broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcams_eval.cli.methods import table_lines
from deepcams_eval.downscale.plugins import Listed
from deepcams_eval.downscale.protocol import TASKS, Task
from deepcams_eval.downscale.registry import (
    DEFAULT_PAIRS,
    Loaded,
    assign,
    checkpoint,
    checkpoint_files,
    listing,
    load,
)
from deepcams_eval.errors import DeepcamsWarning, InputError
from tests.plugin_package import build_stranger, write_distribution

TEMPORAL = ["nearest", "linear", "linear-eq9", "linear-sqrt", "pchip", "dis"]
SPATIAL = ["nearest", "bilinear", "bicubic", "lanczos", "bicubic-ibp", "pattern"]

METHODS = "import sys; sys.argv = ['deepcams-bench', 'methods', *sys.argv[1:]]\n" + (
    "from deepcams_eval.cli.bench import main\n"
)

GOOD = """
class Good:
    name = "good"
    task = "temporal"
    title = "does well"
    halo = 2
    def fit(self, training): ...
    def __call__(self, coarse, target): ...
"""

WriteDistribution = Callable[..., Path]


@pytest.fixture(autouse=True)
def _only_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the networks of this repository, which are plug-ins as well, if they are installed."""

    def of_strangers(**chosen: str) -> list[EntryPoint]:
        found = entry_points(**chosen)
        return [point for point in found if not point.value.startswith("deepcams_models.")]

    monkeypatch.setattr("deepcams_eval.downscale.plugins.entry_points", of_strangers)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteDistribution]:
    """Write a distribution to a folder that Python looks in, for this test only."""
    before = set(sys.modules)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def write(
        points: Mapping[str, str],
        modules: Mapping[str, str],
        requires: Sequence[str] = (),
        name: str = "other-lab",
    ) -> Path:
        return write_distribution(site, name, points, modules, requires)

    yield write
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]


def python(code: str, *arguments: str, path: Path) -> str:
    """Return what Python prints with `path` before everything else."""
    places = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    printed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


def known(name: str) -> Listed:
    (found,) = [method for method in listing() if method.name == name]
    return found


def names(loaded: Loaded) -> list[str]:
    return [method.name for method in loaded.methods]


class TestStranger:
    def test_installed_package_is_listed_and_runs(self, tmp_path: Path):
        site = build_stranger(tmp_path)
        lines = python(METHODS + "main()", path=site).splitlines()
        (row,) = [line for line in lines if line.startswith("mean ")]
        told = r"mean +temporal +mean of the two frames +stranger 1\.2 +available"
        assert re.fullmatch(told, row)
        assert max(map(len, lines)) <= 100

        code = """
import numpy as np
from deepcams_eval.downscale.protocol import Coarse, Target
from deepcams_eval.downscale.registry import load
from deepcams_eval.core.field import make_field

def field(values, times):
    stamps = np.array(times, "datetime64[us]")
    return make_field(
        np.array(values, "float32").reshape(len(times), 1, 2),
        time=stamps, latitude=[10.0], longitude=[5.0, 6.0], stamp="point",
    )

coarse = field([[1, 10], [4, 20], [16, 0]], ["2020-01-01T00", "2020-01-01T03", "2020-01-01T06"])
wanted = field([[0, 0], [0, 0]], ["2020-01-01T01", "2020-01-01T05"])
(method,) = load("temporal", ["mean"]).methods
print(method.source, method.halo, method.learns)
print(method.call(Coarse(coarse), Target.like(wanted)).values.tolist())
"""
        source, values = python(code, path=site).splitlines()
        assert source == "stranger 1.2 0 False"
        assert json.loads(values) == [[[2.5, 15.0]], [[10.0, 10.0]]]

    def test_nothing_of_a_package_is_imported_for_the_list(self, tmp_path: Path):
        torch_user = 'import torch\nclass Net:\n    name = "net"\n    task: str = "spatial"\n'
        write_distribution(
            tmp_path,
            "other-lab",
            {"net": "lab.nets.deep:Net", "boom": "boom:Boom", "made": "boom:make"},
            {
                "torch.py": "",
                "lab/__init__.py": "import torch\n",
                "lab/nets/deep.py": torch_user,
                "boom.py": "raise RuntimeError\nclass Boom:\n    task = 'temporal'\n",
            },
        )
        imported = "print([n for n in ('torch', 'lab', 'lab.nets', 'boom') if n in sys.modules])\n"
        code = METHODS + "try: main()\nexcept SystemExit: pass\n" + imported
        *listed, modules = python(code, "--json", path=tmp_path).splitlines()
        assert modules == "[]"
        tasks = {entry["name"]: entry["task"] for entry in json.loads("\n".join(listed))}
        assert tasks["net"] == "spatial"
        assert tasks["boom"] == "temporal"
        assert tasks["made"] == "unknown until it runs"

        # The same import, when it is wanted, does bring torch: the check above can fail.
        loading = "import sys\nfrom deepcams_eval.downscale.registry import load\n"
        loading += "try: load('spatial', ['net'])\nexcept ValueError: pass\n"
        assert python(loading + imported, path=tmp_path).strip() == "['torch', 'lab', 'lab.nets']"


class TestAvailability:
    @pytest.mark.parametrize(
        ("requires", "available"),
        [
            (["no-such-thing; extra == 'models'"], False),
            (["numpy>=999; extra == 'models'"], False),
            (["no-such-thing"], False),
            (["other-lab[nets]; extra == 'models'", "no-such-thing; extra == 'nets'"], False),
            (["other-lab[models]; extra == 'models'"], True),
            (["NumPy>=1.0; extra == 'models'"], True),
            (["no-such-thing; extra == 'another'"], True),
            (["no-such-thing; python_version < '3' and extra == 'models'"], True),
        ],
    )
    def test_what_the_extra_requires(
        self, distribution: WriteDistribution, requires: list[str], available: bool
    ):
        distribution({"good": "good:Good [models]"}, {"good.py": GOOD}, requires)
        needs = 'needs: pip install "other-lab[models]"'
        assert known("good").status == ("available" if available else needs)
        assert known("good").available is available

    def test_named_without_its_extra_tells_the_command(self, distribution: WriteDistribution):
        distribution({"good": "good:Good [a]"}, {"good.py": GOOD}, ["no-such-thing; extra == 'a'"])
        said = r'other-lab 0\.3.*pip install "other-lab\[a\]".*pchip'
        with pytest.raises(InputError, match=said):
            load("temporal", ["good"])
        loaded = load("temporal")
        assert names(loaded) == TEMPORAL
        assert [method.status for method in loaded.skipped] == ['needs: pip install "other-lab[a]"']

    @pytest.mark.parametrize(
        ("value", "modules", "told"),
        [
            ("absent:Good", {}, "module absent is not found"),
            ("lab.absent:Good", {"lab/__init__.py": ""}, "module lab.absent is not found"),
            ("plain.part:Good", {"plain.py": ""}, "module plain.part is not found"),
            ("good:Good", {"good.py": "class Good:\n task = 'temporal"}, "SyntaxError"),
            ("good:Good", {"good.py": "class Good:\n task = 'tempral'\n"}, "'tempral'"),
            ("not a module", {}, "is not MODULE:OBJECT"),
        ],
    )
    def test_unusable_entry_points_say_why(
        self, distribution: WriteDistribution, value: str, modules: dict[str, str], told: str
    ):
        distribution({"good": value}, modules)
        assert not known("good").available
        assert told in known("good").status
        assert names(load("temporal")) == TEMPORAL

    def test_module_in_nested_namespace_packages(self, distribution: WriteDistribution):
        distribution({"good": "lab.deep.good:Good"}, {"lab/deep/good.py": GOOD})
        assert known("good").available
        assert known("good").title == "does well"
        assert "lab" not in sys.modules

    def test_metadata_that_cannot_be_read(self, distribution: WriteDistribution):
        site = distribution({"good": "good:Good"}, {"good.py": GOOD}, ["numpy >>> 3"])
        assert "it cannot be read (InvalidRequirement" in known("good").status
        (site / "other_lab-0.3.dist-info" / "METADATA").unlink()
        assert known("good").source == "an unnamed distribution"


BREAKAGES = {
    "raises": ("raise RuntimeError('no GPU')\n", "RuntimeError: no GPU"),
    "own error": ("class Odd(Exception): ...\nraise Odd('odd')\n", "Odd: odd"),
    "exits": ("raise SystemExit(0)\n", "SystemExit"),
    "absent": ("", "AttributeError"),
    "no name": ("class Good:\n task = 'temporal'\n def __call__(self, c, t): ...\n", "no name"),
    "no task": ("class Good:\n name = 'good'\n def __call__(self, c, t): ...\n", "no task"),
    "no call": ("class Good:\n name, task = 'good', 'temporal'\n", "no __call__"),
    "arguments": (GOOD + "    def __init__(self, path): ...\n", "TypeError"),
    "a number": ("Good = 3\n", "neither a method nor"),
    "other name": (GOOD.replace('"good"', '"better"'), "'better'"),
    "other task": (GOOD.replace('"temporal"', '"time".lower()'), "'time'"),
    "changed task": (
        "class Good:\n name, title = 'good', ''\n task = 'temporal'\n"
        " def __init__(self): self.task = 'spatial'\n def __call__(self, c, t): ...\n",
        "'spatial'",
    ),
    "halo": (GOOD.replace("halo = 2", "halo = -1"), "-1"),
    "notes": (GOOD + "    notes = 'a note'\n", "its notes is 'a note', which cannot be called"),
    "stated": (
        "from deepcams_eval.errors import InputError\n"
        "raise InputError('there are no weights', path='w', hint='train them')\n",
        "entry point 'good' of other-lab 0.3: w: there are no weights; train them",
    ),
    "title": (GOOD.replace('"does well"', "7"), "title is 7"),
}


class TestBroken:
    @pytest.mark.parametrize(("source", "told"), BREAKAGES.values(), ids=BREAKAGES)
    def test_one_broken_package_does_not_break_the_others(
        self, distribution: WriteDistribution, source: str, told: str
    ):
        distribution({"good": "good:Good"}, {"good.py": source})
        with pytest.warns(DeepcamsWarning, match=r"'good' of other-lab 0\.3") as announced:
            loaded = load("temporal")
        assert told in str(announced[0].message)
        assert names(loaded) == TEMPORAL
        (skipped,) = loaded.skipped
        assert not skipped.available
        assert told in skipped.status
        own = "there are no weights" in told
        assert ("uninstall" in str(announced[0].message)) != own

        with pytest.raises(InputError, match=r"'good' of other-lab 0\.3") as refused:
            load("temporal", ["good"])
        assert told in str(refused.value)
        assert names(load("temporal", ["linear"])) == ["linear"]

    @pytest.mark.parametrize("literal", [True, False])
    def test_name_of_a_built_in_method(self, distribution: WriteDistribution, literal: bool):
        task = "'temporal'" if literal else "''.join(['temporal'])"
        source = f"class Own:\n name = 'linear'\n task = {task}\n def __call__(self, c, t): ...\n"
        distribution({"linear": "own:Own"}, {"own.py": source})
        said = pytest.warns(DeepcamsWarning, match="built-in method 'linear'")
        with nullcontext() if literal else said:
            loaded = load("temporal")
        assert names(loaded) == TEMPORAL
        assert "built-in method 'linear'" in loaded.skipped[0].status
        assert load("temporal", ["linear"]).methods[0].source == "built in"

    def test_same_name_in_another_task_is_no_clash(self, distribution: WriteDistribution):
        source = "class Own:\n name = 'linear'\n task = 'spatial'\n def __call__(self, c, t): ...\n"
        distribution({"linear": "own:Own"}, {"own.py": source})
        assert names(load("spatial")) == [*SPATIAL, "linear"]
        assert load("temporal", ["linear"]).methods[0].source == "built in"
        chosen = assign(["linear"], ["temporal", "spatial"])
        assert chosen == dict.fromkeys(("temporal", "spatial"), ("linear",))

    def test_two_packages_with_one_name_are_both_refused(self, distribution: WriteDistribution):
        distribution({"good": "good:Good"}, {"good.py": GOOD}, name="first-lab")
        distribution({"good": "good:Good"}, {}, name="second-lab")
        with pytest.raises(InputError, match=r"entry point 'good' of second-lab 0\.3"):
            load("temporal", ["good"])
        loaded = load("temporal")
        assert names(loaded) == TEMPORAL
        assert [method.source for method in loaded.skipped] == ["first-lab 0.3", "second-lab 0.3"]

    def test_name_that_cannot_stand_in_a_list(self, distribution: WriteDistribution):
        distribution({"good+bad": "good:Good"}, {"good.py": GOOD})
        assert "other characters" in known("good+bad").status


class TestLoad:
    def test_built_in_methods_in_the_order_of_the_tables(self):
        assert names(load("temporal")) == TEMPORAL
        assert names(load("spatial")) == SPATIAL
        listed = [(method.task, method.name) for method in listing()]
        assert listed[: len(TEMPORAL) + len(SPATIAL)] == [
            *(("temporal", name) for name in TEMPORAL),
            *(("spatial", name) for name in SPATIAL),
        ]
        learning = [m.name for task in TASKS for m in load(task).methods if m.learns]
        assert learning == ["pattern"]

    def test_named_in_the_order_given_once(self):
        assert names(load("temporal", ["pchip", "linear", "pchip"])) == ["pchip", "linear"]

    @pytest.mark.parametrize(
        ("attribute", "ending"),
        [("Good", ""), ("ready", "ready = Good()\n"), ("make", "make = lambda: Good()\n")],
        ids=["class", "instance", "factory"],
    )
    def test_class_instance_and_factory(
        self, distribution: WriteDistribution, attribute: str, ending: str
    ):
        distribution({"good": f"good:{attribute}"}, {"good.py": GOOD + ending})
        (method,) = load("temporal", ["good"]).methods
        described = (method.title, method.source, method.halo, method.learns)
        assert described == ("does well", "other-lab 0.3", 2, True)
        assert names(load("temporal")) == [*TEMPORAL, "good"]
        assert names(load("spatial")) == SPATIAL
        assert assign(["good"]) == {"temporal": ("good",), "spatial": (), "joint": ()}

    def test_unknown_name_lists_the_known_ones(self):
        with pytest.raises(InputError, match=r"no temporal method is named 'cubic'.*linear-eq9"):
            load("temporal", ["cubic"])

    def test_names_go_to_their_tasks(self):
        chosen = assign(["pchip", "nearest", "bicubic", "linear+bicubic"])
        assert chosen == {
            "temporal": ("pchip", "nearest"),
            "spatial": ("nearest", "bicubic"),
            "joint": ("linear+bicubic",),
        }
        with pytest.raises(InputError, match="'bicubic' is a method of the task spatial"):
            assign(["bicubic"], ["temporal"])
        with pytest.raises(InputError, match="no temporal or spatial method is named 'cubic'"):
            assign(["cubic"], ["temporal", "spatial"])


class TestCheckpoint:
    @pytest.mark.parametrize("error", ["RuntimeError('torn')", "SystemExit('torn')"])
    def test_one_that_its_network_refuses(
        self, distribution: WriteDistribution, tmp_path: Path, error: str
    ):
        maker = f"    @classmethod\n    def from_checkpoint(cls, name, path): raise {error}\n"
        distribution({"good": "good:Good"}, {"good.py": GOOD + maker})
        (tmp_path / "mine.json").write_text('{"network": "good"}', encoding="utf-8")
        with pytest.raises(InputError, match=r"'good' of other-lab 0\.3: it cannot .*torn"):
            checkpoint("mine", tmp_path / "mine")

    def test_its_files(self, tmp_path: Path):
        assert checkpoint_files(tmp_path / "b") == (tmp_path / "b.json",)
        (tmp_path / "a.safetensors").touch()
        both = (tmp_path / "a.json", tmp_path / "a.safetensors")
        for name in ("a", "a.json", "a.safetensors"):
            assert checkpoint_files(tmp_path / name) == both


class TestPairs:
    @pytest.mark.parametrize(
        ("name", "order"),
        [
            ("pchip+lanczos", ("temporal", "spatial")),
            ("lanczos+pchip", ("spatial", "temporal")),
            ("nearest+nearest", ("temporal", "spatial")),
            ("nearest+lanczos", ("temporal", "spatial")),
            ("lanczos+nearest", ("spatial", "temporal")),
            ("nearest+linear", ("spatial", "temporal")),
        ],
    )
    def test_order_is_that_of_the_name(self, name: str, order: tuple[Task, Task]):
        (method,) = load("joint", [name]).methods
        assert (method.name, method.call.name, method.task) == (name, name, "joint")
        assert (method.call.first.task, method.call.second.task) == order

    @pytest.mark.parametrize("name", ["linear+dis", "bicubic+bicubic", "linear+", "a+b+c", "a+b"])
    def test_what_is_no_pair(self, name: str):
        with pytest.raises(InputError, match=r"not a temporal and a spatial|no .* is named"):
            load("joint", [name])

    def test_parts_that_are_loaded_are_used(self):
        parts = (*load("temporal").methods, *load("spatial").methods)
        calls = {id(method.call) for method in parts}
        for method in load("joint", ["linear+pattern", "nearest+nearest"], reuse=parts).methods:
            assert {id(method.call.first), id(method.call.second)} <= calls
        pairs = load("joint", ["linear+pattern", "linear+bicubic", "pchip+bicubic"]).methods
        assert [(one.learns, one.halo) for one in pairs] == [(True, 0), (False, 0), (False, 1)]

    @pytest.mark.parametrize("extra", ["", " [models]"], ids=["installed", "without the extra"])
    def test_networks_join_if_both_can_run(self, distribution: WriteDistribution, extra: str):
        source = "class {0}:\n name, title, halo = '{0}', '', {2}\n task = '{1}'\n"
        source += " def __call__(self, c, t): ...\n"
        modules = source.format("xvfi", "temporal", 1) + source.format("abpn", "spatial", 0)
        distribution(
            {"xvfi": "nets:xvfi" + extra, "abpn": "nets:abpn"},
            {"nets.py": modules},
            ["no-such-thing; extra == 'models'"],
        )
        loaded = load("joint")
        networks = ["xvfi+abpn"]
        if extra:
            assert names(loaded) == list(DEFAULT_PAIRS)
            assert [method.name for method in loaded.skipped] == networks
            assert all("other-lab[models]" in method.status for method in loaded.skipped)
        else:
            assert names(loaded) == [*DEFAULT_PAIRS, *networks]
            assert loaded.methods[-1].source == "other-lab 0.3"

    def test_method_made_for_both_steps(self, distribution: WriteDistribution):
        distribution({"good": "good:Good"}, {"good.py": GOOD.replace('"temporal"', '"joint"')})
        assert names(load("joint")) == [*DEFAULT_PAIRS, "good"]
        assert names(load("joint", ["good", "dis+bicubic"])) == ["good", "dis+bicubic"]
        assert names(load("temporal")) == TEMPORAL


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
listed_methods = st.builds(
    Listed,
    name=words,
    task=st.sampled_from([*TASKS, "unknown until it runs"]),
    title=st.lists(words, max_size=20).map(" ".join),
    source=words,
    available=st.booleans(),
    status=words,
)


class TestTable:
    @given(st.lists(listed_methods, min_size=1, max_size=5))
    def test_every_word_stands_in_its_column(self, methods: list[Listed]):
        lines = table_lines(methods)
        assert max(map(len, lines)) <= 100
        start = {head: lines[0].index(head) for head in ("task", "what", "source", "status")}
        rows = lines[1 : lines.index("")]
        titles = [line[start["what"] : start["source"]].split() for line in rows]
        assert [word for title in titles for word in title] == [
            word for method in methods for word in method.title.split()
        ]
        firsts = [line for line in rows if line[: start["task"]].strip()]
        assert [line[: start["task"]].strip() for line in firsts] == [m.name for m in methods]
        states = [line[start["status"] :] for line in firsts]
        assert states == [m.status if m.available else "unavailable" for m in methods]

    def test_reasons_stand_whole_on_one_line(self):
        reason = 'needs: pip install "' + "long-name-" * 12 + '[models]"'
        method = Listed("xvfi", "temporal", "a network", "lab 1", False, reason)
        assert f"  xvfi (temporal): {reason}" in table_lines([method])
