"""Servers on loopback that stand in for the sources of data, with faults on purpose."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import re
import ssl
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from deepcams_eval.fetch.http import LIBRARY


@dataclass(frozen=True)
class Fault:
    """What happens to one answer."""

    status: int | None = None
    retry_after: str | None = None
    cut_at: int | None = None
    silent_s: float = 0.0
    body: bytes | None = None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Service:
    """Files by path, faults by path (one a request, in order), and every request that came.

    Attributes
    ----------
    lasting : dict
        Faults that never end.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    lasting: dict[str, Fault] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    ranges: bool = True
    pace_s: float = 0.0
    url: str = ""
    route: Callable[[Request], tuple[int, object] | None] = lambda _: None

    def count(self, path: str) -> int:
        return sum(one.path == path for one in self.requests)

    def name(self, address: str) -> str:
        """The path by which files and faults are known."""
        return urlsplit(address).path

    def fault(self, path: str) -> Fault:
        planned = self.faults.get(path)
        return planned.popleft() if planned else self.lasting.get(path, Fault())


def tag_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, headers = service.name(self.path), dict(self.headers.items())
            service.requests.append(Request(self.command, path, headers, body))
            fault = service.fault(path)
            time.sleep(fault.silent_s)
            if fault.status is not None:
                asked = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                self.send(fault.status, fault.body or b"no", asked)
                return
            routed = service.route(Request(self.command, self.path, headers, body))
            if routed is not None:
                status, content = routed
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                kind = "application/octet-stream" if data is content else "application/json"
                self.send(status, data, {"Content-Type": kind}, cut_at=fault.cut_at)
            elif path in service.files:
                self.send_file(service.files[path], fault)
            else:
                self.send(404, b"not here", {})

        def send_file(self, file: bytes, fault: Fault) -> None:
            data, tag = fault.body or file, f'"{tag_of(file)}"'
            headers = {"ETag": tag, "Last-Modified": formatdate(1.7e9, usegmt=True)}
            span = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", tag) == tag
            if service.ranges and span and same:
                first = int(span[1])
                if first >= len(data):
                    self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                    return
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
                self.send(206, data[first:], headers, cut_at=fault.cut_at)
            else:
                self.send(200, data, headers, cut_at=fault.cut_at)

        def send(
            self, status: int, data: bytes, headers: dict[str, str], cut_at: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            sent = data if cut_at is None else data[:cut_at]
            step = max(1, len(sent) // 8) if service.pace_s else max(1, len(sent))
            try:
                for low in range(0, len(sent), step):
                    self.wfile.write(sent[low : low + step])
                    self.wfile.flush()
                    time.sleep(service.pace_s)
            except OSError:
                self.close_connection = True
            if cut_at is not None:
                self.close_connection = True

    return Handler


@contextmanager
def served(service: Service, context: ssl.SSLContext | None = None) -> Iterator[Service]:
    """Serve on a free port of loopback until the block ends."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *_: object) -> None:
            """A client that goes away is part of the tests."""

    with Server(("127.0.0.1", 0), _handler(service)) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        service.url = f"{scheme}://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def killed(
    work: Callable[..., None], arguments: tuple[object, ...], begun: Path, after_s: float
) -> bool:
    """Do `work` in a process of its own, kill it, and return whether it was still at work.

    It is given the path `begun` first, which it makes when it begins; the time counts from then.
    """
    context = multiprocessing.get_context("forkserver")
    # A process begins with everything imported, so that there is time for many.
    context.set_forkserver_preload(["tests.test_fetch_cams", "tests.test_fetch_geoscf"])
    begun.unlink(missing_ok=True)
    process = context.Process(target=work, args=(begun, *arguments))
    process.start()
    try:
        while not begun.exists() and process.is_alive():
            time.sleep(0.01)
        process.join(after_s)
        return process.is_alive()
    finally:
        process.kill()
        process.join()


KEY = "12345678-abcd-ef01-2345-secretsecret"


@dataclass
class AtmosphereStore:
    """The queue of the Atmosphere Data Store as its client sees it.

    Attributes
    ----------
    make : callable
        The bytes that answer a request's inputs.
    looks : int
        How often a job is looked at before it has run.
    outcomes : dict
        Final state of a job by the first day of its request, where that is not ``successful``.
    licence, key : what is checked.
    """

    make: Callable[[dict[str, object]], bytes]
    looks: int = 2
    outcomes: dict[str, str] = field(default_factory=dict)
    licence: bool = True
    key: str = KEY
    jobs: dict[str, dict[str, object]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        self.service.route = self.route

    @property
    def submitted(self) -> list[str]:
        """First days of the requests, in the order in which they came."""
        return [str(job["date"][0]).partition("/")[0] for job in self.jobs.values()]

    def route(self, request: Request) -> tuple[int, object] | None:
        parts = urlsplit(request.path)
        path = parts.path
        if path == "/api/catalogue/v1/messages":
            return 200, {"messages": []}
        if not path.startswith("/api/retrieve/v1/"):
            return None
        if request.headers.get("PRIVATE-TOKEN") != self.key:
            return 401, {"title": "Unauthorized", "detail": "authentication failed"}
        steps = path.removeprefix("/api/retrieve/v1/").split("/")
        if steps[0] == "processes" and len(steps) == 2:
            return 200, {"id": steps[1], "links": []}
        if steps[0] == "processes" and request.method == "POST":
            return self._submit(json.loads(request.body)["inputs"])
        if steps == ["jobs"]:
            listed = [{"jobID": number, "status": "running"} for number in reversed(self.jobs)]
            return 200, {"jobs": listed, "links": []}
        if steps[0] == "jobs" and steps[1] in self.jobs:
            return self._job(steps[1], results=steps[2:] == ["results"])
        return 404, {"title": "job not found", "detail": "no such job"}

    def _submit(self, inputs: dict[str, object]) -> tuple[int, object]:
        if not self.licence:
            detail = "Not all the required licences have been accepted"
            return 403, {"title": "required licences not accepted", "detail": detail}
        number = f"job-{next(self.numbers)}"
        self.jobs[number] = inputs
        return 201, self._status(number, "accepted")

    def _job(self, number: str, *, results: bool) -> tuple[int, object]:
        first = str(self.jobs[number]["date"][0]).partition("/")[0]
        final = self.outcomes.get(first, "successful")
        if not results:
            self.seen[number] += 1
            looks = self.seen[number]
            state = "accepted" if looks == 1 else "running"
            return 200, self._status(number, final if looks > self.looks else state)
        if final != "successful":
            detail = "the job has failed: no data for this date"
            return 400, {"type": "job results failed", "title": "The job failed", "detail": detail}
        path = f"/store/{number}.nc"
        if path not in self.service.files:
            with LIBRARY:
                self.service.files[path] = self.make(self.jobs[number])
        data = self.service.files[path]
        asset = {
            "href": self.service.url + path,
            "file:size": len(data),
            "type": "application/netcdf",
            "file:checksum": hashlib.md5(data).hexdigest(),
        }
        return 200, {"asset": {"value": asset}}

    def _status(self, number: str, state: str) -> dict[str, object]:
        url = f"{self.service.url}/api/retrieve/v1/jobs/{number}"
        links = [{"rel": "monitor", "href": url}, {"rel": "self", "href": url}]
        if state == "successful":
            links.append({"rel": "results", "href": f"{url}/results"})
        metadata = {"request": {"ids": self.jobs[number]}}
        return {"jobID": number, "status": state, "links": links, "metadata": metadata}
