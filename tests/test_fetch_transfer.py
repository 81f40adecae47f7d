"""One download: cuts, storms, refusals, certificates, a full disk, kills."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
import trustme

from deepcams_eval.errors import InputError
from deepcams_eval.fetch.http import (
    Expected,
    RefusedError,
    RetryPolicy,
    StoppedError,
    Transfer,
    TransferError,
    UnreachableError,
    shown,
)
from deepcams_eval.fetch.local import check_space, sole_fetch
from tests.fetch_services import Fault, Service, served

DATA = np.random.default_rng(20170114).bytes(3_000_001)
MD5 = hashlib.md5(DATA).hexdigest()
QUICK = RetryPolicy(attempts=3, timeout_s=0.3, first_wait_s=0.01, longest_wait_s=0.02)


@pytest.fixture
def service() -> Iterator[Service]:
    with served(Service(files={"/f": DATA})) as result:
        yield result


def get(service: Service, target: Path, **options: object) -> int:
    return Transfer(QUICK).get(f"{service.url}/f?token=secret", target, **options)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(service: Service, tmp_path: Path, status: int) -> None:
    service.faults["/f"].extend([Fault(status), Fault(status)])
    assert get(service, tmp_path / "x") == len(DATA)
    assert (tmp_path / "x").read_bytes() == DATA
    assert left(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("fault", "asked", "said"),
    [
        (Fault(429), 3, r"given up after 3 failures \(status 429\)"),
        (Fault(silent_s=0.8), 3, "no answer in time"),
        (Fault(429, "86400"), 1, "the server asks to come back in"),
    ],
    ids=["storm", "silence", "a wait beyond the policy"],
)
def test_what_does_not_end_is_given_up(
    service: Service, tmp_path: Path, fault: Fault, asked: int, said: str
) -> None:
    service.faults["/f"].extend([fault] * 9)
    with pytest.raises(UnreachableError, match=said):
        get(service, tmp_path / "x")
    assert service.count("/f") == asked


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_says_how_long_to_wait(service: Service, tmp_path: Path, form: str) -> None:
    later = datetime.now(UTC) + timedelta(seconds=2)
    asked = "1" if form == "seconds" else format_datetime(later, usegmt=True)
    service.faults["/f"].append(Fault(503, asked))
    began = time.monotonic()
    get(service, tmp_path / "x")
    assert time.monotonic() - began > 0.9


def test_one_answer_holds_back_every_thread(service: Service, tmp_path: Path) -> None:
    service.faults["/f"].append(Fault(429, "1"))
    transfer, began = Transfer(QUICK), time.monotonic()
    first = threading.Thread(target=transfer.read, args=(f"{service.url}/f",))
    first.start()
    while not service.requests:
        time.sleep(0.01)
    time.sleep(0.1)
    transfer.get(f"{service.url}/f", tmp_path / "x")
    assert time.monotonic() - began > 0.9
    first.join()
    assert service.count("/f") == 3


def test_a_cut_body_goes_on_where_it_ended(service: Service, tmp_path: Path) -> None:
    service.faults["/f"].extend([Fault(cut_at=1_000_000), Fault(cut_at=1_000_000)])
    get(service, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    first, *others = [one.headers.get("Range") for one in service.requests]
    assert first is None
    # What the library held back when the connection was cut comes again.
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in others]
    assert starts == pytest.approx([1e6, 2e6], abs=7e4)


@pytest.mark.parametrize(
    ("cuts", "ranges"),
    [([300_000] * 8, True), ([1_000_000], False)],
    ids=["failures are counted from zero where bytes came", "a server without ranges"],
)
def test_a_cut_body_comes_whole(
    service: Service, tmp_path: Path, cuts: list[int], ranges: bool
) -> None:
    service.ranges = ranges
    service.faults["/f"].extend(Fault(cut_at=cut) for cut in cuts)
    get(service, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_file_that_changed_in_between_is_never_spliced(service: Service, tmp_path: Path) -> None:
    other = DATA[::-1]
    service.faults["/f"].extend([Fault(cut_at=1_000_000), *[Fault(500)] * 3])
    with pytest.raises(UnreachableError):
        get(service, tmp_path / "x")
    assert (tmp_path / ".x.part").stat().st_size == pytest.approx(1e6, abs=4e4)
    service.files["/f"] = other
    get(service, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == other


def test_a_wrong_checksum_or_size_never_counts(service: Service, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="3000001 bytes, not 3000005"):
        get(service, tmp_path / "x", expected=Expected(3_000_005))
    with pytest.raises(TransferError, match="came damaged 3 times: its checksum"):
        get(service, tmp_path / "x", expected=Expected(len(DATA), "0" * 32))
    assert left(tmp_path) == []
    service.faults["/f"].append(Fault(body=bytes(len(DATA))))
    get(service, tmp_path / "x", expected=Expected(len(DATA), MD5))
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_repeated_and_holds_no_secret(
    service: Service, tmp_path: Path, status: int
) -> None:
    service.faults["/f"].append(Fault(status))
    with pytest.raises(RefusedError, match="the key: it may have expired") as caught:
        get(service, tmp_path / "x")
    assert service.count("/f") == 1
    assert "secret" not in str(caught.value)


def test_what_is_not_there_is_not_asked_for_again(service: Service, tmp_path: Path) -> None:
    del service.files["/f"]
    with pytest.raises(TransferError, match="404"):
        get(service, tmp_path / "x")
    assert service.count("/f") == 1


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with served(Service(files={"/f": DATA}), context) as service:
        with pytest.raises(RefusedError, match=r"is not trusted.*REQUESTS_CA_BUNDLE"):
            get(service, tmp_path / "x")
        assert not service.requests
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        get(service, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_stop_ends_a_wait_and_keeps_what_came(service: Service, tmp_path: Path) -> None:
    service.faults["/f"].extend([Fault(cut_at=1_000_000), Fault(503, "30")])
    transfer = Transfer(QUICK)
    threading.Timer(0.3, transfer.stop).start()
    with pytest.raises(StoppedError):
        transfer.get(f"{service.url}/f", tmp_path / "x")
    assert left(tmp_path) == [".x.part", ".x.part.json"]


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("https://me:pass@host:8443/a/b?key=1") == "https://host:8443/a/b"


def test_room_is_asked_for_before_anything_is_fetched(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(InputError, match=r"GB free, and the fetch needs up to .* GB; free space"):
        check_space(tmp_path, 10**18)


def test_one_fetch_at_a_time(tmp_path: Path) -> None:
    with (
        sole_fetch(tmp_path),
        pytest.raises(InputError, match="another fetch is at work"),
        sole_fetch(tmp_path),
    ):
        pass
    with sole_fetch(tmp_path):
        pass


CHILD = """
import sys
from pathlib import Path
from deepcams_eval.fetch.http import RetryPolicy, Transfer
Transfer(RetryPolicy(attempts=3, first_wait_s=0.01)).get(sys.argv[1], Path(sys.argv[2]))
"""


def child(service: Service, target: Path, limit: int | None = None) -> subprocess.Popen[str]:
    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", CHILD, f"{service.url}/f", str(target)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
        env=dict(os.environ),
    )


def test_a_full_disk_is_one_line(service: Service, tmp_path: Path) -> None:
    _, error = child(service, tmp_path / "x", limit=1_000_000).communicate(timeout=30)
    last = error.strip().splitlines()[-1]
    assert "cannot be written" in last
    assert "free space" in last
    assert not (tmp_path / "x").exists()


def test_killed_at_any_moment_the_file_is_the_same(service: Service, tmp_path: Path) -> None:
    service.pace_s = 0.05  # the body takes 0.4 s
    generator = np.random.default_rng(7)
    for _ in range(3):
        running = child(service, tmp_path / "x")
        while not service.requests and running.poll() is None:
            time.sleep(0.01)
        time.sleep(float(generator.uniform(0.05, 0.3)))
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=10)
        if (tmp_path / "x").exists():
            assert (tmp_path / "x").read_bytes() == DATA
        service.requests.clear()
    finished = child(service, tmp_path / "x")
    finished.communicate(timeout=30)
    assert finished.returncode == 0
    assert (tmp_path / "x").read_bytes() == DATA
    assert left(tmp_path) == ["x"]
