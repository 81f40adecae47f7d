"""DeepCAMS from a record like that of Zenodo, on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from typer.testing import CliRunner

from deepcams_eval.cli.evaluate import app
from deepcams_eval.errors import InputError
from deepcams_eval.fetch.deepcams import fetch_deepcams, plan_deepcams
from deepcams_eval.fetch.http import RetryPolicy, Transfer
from deepcams_eval.fetch.local import Outcome
from deepcams_eval.read.product import ProductSpec, open_product
from tests.fetch_services import Fault, Service, served

QUICK = RetryPolicy(attempts=3, timeout_s=2.0, first_wait_s=0.01, longest_wait_s=0.02)
CONTENT = "/api/records/6381600/files/{}/content"


def maps(year: int) -> bytes:
    """Two hourly maps in a zip file; their values tell them apart."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for hour in (5, 6):
            one = io.BytesIO()
            values = np.full((720, 1440), year - 2000 + hour / 10)
            scipy.io.savemat(one, {"data": values}, do_compression=True)
            archive.writestr(f"{year}0308_{hour:02d}.mat", one.getvalue())
    return packed.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {"DeepCAMS_2017.zip": maps(2017), "DeepCAMS_2019.zip": maps(2019), "readme.txt": b"hi"}


@pytest.fixture(autouse=True)
def service(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    result = Service()
    publish(result, files)
    with served(result):
        monkeypatch.setenv("DEEPCAMS_ZENODO_URL", result.url)
        yield result


def publish(service: Service, files: dict[str, bytes]) -> None:
    listed = [
        {"key": name, "size": len(data), "checksum": f"md5:{hashlib.md5(data).hexdigest()}"}
        for name, data in files.items()
    ]
    service.files["/api/records/6381600"] = json.dumps({"id": 6381600, "files": listed}).encode()
    service.files |= {CONTENT.format(name): data for name, data in files.items()}


def fetch(folder: Path, years: tuple[int, ...] = ()) -> Outcome:
    return fetch_deepcams(folder, years, Transfer(QUICK))


def test_the_record_becomes_a_product_and_is_not_fetched_twice(
    service: Service, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPCAMS_CACHE", str(tmp_path / "cache"))
    outcome = fetch(tmp_path / "deepcams")
    size = sum(len(data) for data in files.values())
    assert outcome == Outcome("deepcams", 3, 0, size, ())
    service.requests.clear()
    assert fetch(tmp_path / "deepcams") == Outcome("deepcams", 0, 3, 0, ())
    assert [one.path for one in service.requests] == ["/api/records/6381600"]
    spec = ProductSpec("deepcams", str(tmp_path / "deepcams"), registration="node-north")
    field = open_product(spec).field
    assert field.time.values[3] == np.datetime64("2019-03-08T06:00")
    assert float(field[3, 100, 200]) == pytest.approx(19.6)


def test_years_choose_files_by_their_names(tmp_path: Path) -> None:
    assert fetch(tmp_path, (2019, 2020)).fetched == 2
    assert not (tmp_path / "DeepCAMS_2017.zip").exists()


def test_a_file_changed_on_disk_or_at_the_source_is_fetched_again(
    service: Service, files: dict[str, bytes], tmp_path: Path
) -> None:
    fetch(tmp_path)
    spoilt = tmp_path / "DeepCAMS_2017.zip"
    spoilt.write_bytes(bytes(spoilt.stat().st_size))
    publish(service, files | {"readme.txt": b"ho"})
    outcome = fetch(tmp_path)
    assert (outcome.fetched, outcome.already_there) == (2, 1)
    assert spoilt.read_bytes() == files[spoilt.name]
    assert (tmp_path / "readme.txt").read_bytes() == b"ho"


def test_a_file_brought_by_hand_counts_by_its_checksum(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "readme.txt").write_bytes(files["readme.txt"])
    plan = plan_deepcams(tmp_path, (), Transfer(QUICK))
    assert [one.name for one in plan.there] == ["readme.txt"]
    assert len(plan.wanted) == 2


def test_cuts_and_damage(service: Service, files: dict[str, bytes], tmp_path: Path) -> None:
    first, second = (CONTENT.format(f"DeepCAMS_{year}.zip") for year in (2017, 2019))
    service.faults[first].extend([Fault(cut_at=900), Fault(429, "0"), Fault(cut_at=900)])
    service.files[second] = bytes(len(files["DeepCAMS_2019.zip"]))
    outcome = fetch(tmp_path)
    assert [(one.what, one.reason[:20]) for one in outcome.missing] == [
        ("DeepCAMS_2019.zip", "came damaged 3 times")
    ]
    assert (tmp_path / "DeepCAMS_2017.zip").read_bytes() == files["DeepCAMS_2017.zip"]


def test_a_record_of_another_form_is_an_error(service: Service, tmp_path: Path) -> None:
    outside = b'{"files": [{"key": "../x", "size": 1, "checksum": "md5:%s"}]}' % (b"0" * 32)
    for record in (b"<html>", b"{}", outside):
        service.files["/api/records/6381600"] = record
        with pytest.raises(InputError, match="no list of files with checksums"):
            fetch(tmp_path)


def test_dry_run_and_what_is_missing_on_the_command_line(service: Service, tmp_path: Path) -> None:
    arguments = ["fetch", "deepcams", "--data", str(tmp_path / "data")]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "deepcams: 3 files to fetch" in dry.stdout
    assert [one.path for one in service.requests] == ["/api/records/6381600"]
    assert not (tmp_path / "data").exists()
    del service.files[CONTENT.format("readme.txt")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "2 files fetched" in done.stdout
    assert "missing: 1\n  readme.txt: cannot be had (status 404)" in done.stderr
