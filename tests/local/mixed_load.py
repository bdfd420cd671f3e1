"""Mixed load through two gateways while the parts behind them are killed and stopped in turn:

    python -m tests.local.mixed_load [SECONDS]

Unary requests, streams, clients that leave and wrong keys, of one tenant. When it is quiet again no lease may be left
after its time, the meter must be the sum of the ledger, and each answer that a client got must be in it, once. How long
each part's callers waited until they were answered again is printed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from chalicelib.admission import Admission
from chalicelib.admission.store import DynamoMeters
from chalicelib.ledger import Entry
from chalicelib.ledger.store import DynamoLedger
from emulators.clock import now_ms
from emulators.sockets import listen, url
from tests.local.killing import client
from tests.local.pids import command_line, family
from tests.local_system import ROOT, RunningSystem, environment_of, local_system
from tests.patience import PATIENCE_S, until
from tests.stores import REGION, reach_tables

SECONDS = 60.0
LEASE_MS = 20_000
SHORT_LEASES = {"CLOISTER_LEASE_MS": str(LEASE_MS), "CLOISTER_RENEW_MS": "3000", "CLOISTER_IDLE_DEADLINE_MS": "15000"}
STALL_S = 3.0
PAUSE_S = 0.05
CALM_S = 2.0  # between a recovery and the next fault
TENANT = "mixed"
POOL = "demo-direct"
LIMITS: dict[str, Any] = {
    "rates": [{"name": "roomy", "unit": "requests", "count": 100_000, "period_ms": 1_000, "burst": 100_000}],
    "budgets": [
        {"name": "calls", "unit": "requests", "limit": 10**9, "window": "month"},
        {"name": "words", "unit": "tokens", "limit": 10**12, "window": "month"},
    ],
    "in_flight": 12,
}
QUESTION = {"model": POOL, "max_tokens": 16, "messages": [{"role": "user", "content": "What is Cloister?"}]}
LONG = {**QUESTION, "max_tokens": 200, "stream": True}
REFUSED = {429, 502, 503, 504}
"""What a caller may hear while a part is away; and nothing at all, from a gateway that is killed."""


class Fault(NamedTuple):
    """One part that is killed or stopped, and by which gateway its callers come."""

    part: str
    strike: Callable[[], None]  # returns when the part may begin to come back
    by: str  # a gateway's base URL


class Recovery(NamedTuple):
    fault: str
    seconds: float  # from the kill, or from the end of the stop, to the next right answer


class Seen:
    """What callers saw. Threads share it."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.completed: list[str] = []  # the ids of requests that were answered whole
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def note(self, kind: str, said: int | str, request_id: str = "") -> None:
        with self._lock:
            self.answers[f"{kind} {said}"] += 1
            if request_id:
                self.completed.append(request_id)

    def complain(self, text: str) -> None:
        with self._lock:
            self.wrong.append(text)


class SecondGateway:
    """A gateway process of ours over the same cloud. Its socket is held, so that who connects meanwhile waits."""

    def __init__(self, first_pid: int, log: Path) -> None:
        # It gives the store less time than the first one, so that a stall leaves it with writes of unknown outcome.
        self._env = environment_of(first_pid) | {"CLOISTER_STORE_DEADLINE_MS": "1500"}
        self._log = log
        self._listening = listen(0)
        self.base_url = url(self._listening)
        self.child = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "local.gateway", "--fd", str(self._listening.fileno())],
                cwd=ROOT,
                env=self._env,
                pass_fds=[self._listening.fileno()],
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()
        self.child = self._start()

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait(PATIENCE_S)
        self._listening.close()


def chat(http: httpx.Client, base_url: str, key: str, body: Any = QUESTION) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return http.post(f"{base_url}/tenants/{TENANT}/v1/chat/completions", json=body, headers=headers)


class Callers:
    """Threads that ask until they are told to end, each of both gateways in turn."""

    def __init__(self, gateways: tuple[str, str], key: str, seen: Seen) -> None:
        self._gateways, self._key, self._seen = gateways, key, seen
        self._ended = threading.Event()
        ways = (self._unary, self._unary, self._unary, self._stream, self._stream, self._leave, self._wrong_key)
        self._threads = [threading.Thread(target=self._ask, args=(way,)) for way in ways]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, way: Callable[[httpx.Client, str], None]) -> None:
        turn = 0
        with httpx.Client(timeout=PATIENCE_S, trust_env=False) as http:
            while not self._ended.is_set():
                turn += 1
                try:
                    way(http, self._gateways[turn % 2])
                except httpx.HTTPError as error:
                    self._seen.note(way.__name__.strip("_"), type(error).__name__)

    def _unary(self, http: httpx.Client, base_url: str) -> None:
        answer = chat(http, base_url, self._key)
        whole = answer.status_code == 200
        self._must_be("unary", answer, {200, *REFUSED})
        self._seen.note("unary", answer.status_code, answer.headers["x-request-id"] if whole else "")

    def _stream(self, http: httpx.Client, base_url: str) -> None:
        with self._open(http, base_url) as answer:
            said = answer.read().decode()
            whole = said.rstrip().endswith("data: [DONE]")
            self._must_be("stream", answer, {200, *REFUSED})
            self._seen.note(
                "stream",
                "whole" if whole else f"{answer.status_code}, not whole",
                answer.headers["x-request-id"] * whole,
            )

    def _leave(self, http: httpx.Client, base_url: str) -> None:
        with self._open(http, base_url) as answer:
            self._must_be("leave", answer, {200, *REFUSED})
            next(answer.iter_bytes(), b"")
        self._seen.note("leave", answer.status_code)

    def _wrong_key(self, http: httpx.Client, base_url: str) -> None:
        self._ended.wait(PAUSE_S)  # it costs so little to be refused that it would be most of the load
        answer = chat(http, base_url, f"{self._key}x")
        self._must_be("wrong key", answer, {401, 503})
        self._seen.note("wrong key", answer.status_code)

    @contextmanager
    def _open(self, http: httpx.Client, base_url: str) -> Iterator[httpx.Response]:
        headers = {"authorization": f"Bearer {self._key}"}
        with http.stream(
            "POST", f"{base_url}/tenants/{TENANT}/v1/chat/completions", json=LONG, headers=headers
        ) as answer:
            yield answer

    def _must_be(self, kind: str, answer: httpx.Response, allowed: set[int]) -> None:
        if answer.status_code not in allowed:
            self._seen.complain(f"{kind}: {answer.status_code} {answer.text[:200] if answer.is_closed else ''}")


def faults(system: RunningSystem, second: SecondGateway) -> list[Fault]:
    """In the order in which they come, again and again."""

    def kill(part: Callable[[], int]) -> Callable[[], None]:
        return lambda: os.kill(part(), signal.SIGKILL)

    def stop(part: Callable[[], int]) -> Callable[[], None]:
        def strike() -> None:
            pid = part()
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STALL_S)  # the length of the stall, not a wait for anything
            os.kill(pid, signal.SIGCONT)

        return strike

    def container() -> int:
        return system.pids()["container-demo"]

    def engine() -> int:
        found: list[int] = []

        def look() -> bool:
            with suppress(KeyError):
                found[:] = [pid for pid in family(container())[1:] if "llamacpp_child" in command_line(pid)]
            return bool(found)

        until(look)
        return found[0]

    first = system.base_url
    return [
        Fault("the llama child is killed", kill(engine), first),
        Fault(f"the store stops for {STALL_S:.0f} s", stop(lambda: system.pids()["cloud"]), second.base_url),
        Fault("the second gateway is killed", second.kill, second.base_url),
        Fault("the container is killed", kill(container), first),
        Fault(f"the second gateway stops for {STALL_S:.0f} s", stop(lambda: second.child.pid), second.base_url),
        Fault("the store is killed", kill(lambda: system.pids()["cloud"]), first),
        Fault("the llama child stops for good", lambda: os.kill(engine(), signal.SIGSTOP), first),
    ]


def strike_in_turn(faults: list[Fault], key: str, seconds: float, say: Callable[[str], None]) -> list[Recovery]:
    """At least once each, and on until the time is over."""
    recoveries: list[Recovery] = []
    end = time.monotonic() + seconds
    with httpx.Client(timeout=PATIENCE_S, trust_env=False) as http:

        def answered(base_url: str) -> bool:
            with suppress(httpx.HTTPError):
                return chat(http, base_url, key).status_code == 200
            return False

        while len(recoveries) < len(faults) or time.monotonic() < end:
            fault = faults[len(recoveries) % len(faults)]
            fault.strike()
            began = time.monotonic()
            until(lambda: answered(fault.by))  # noqa: B023  # at once
            recoveries.append(Recovery(fault.part, time.monotonic() - began))
            say(f"{fault.part}: answered again after {recoveries[-1].seconds:.1f} s")
            time.sleep(CALM_S)
    return recoveries


class Books:
    """The tenant's meter and ledger, as the store holds them."""

    def __init__(self, system: RunningSystem) -> None:
        os.environ.update({name: value for name, value in system.env.items() if name.startswith("AWS_")})
        tables = reach_tables(system.env["AWS_ENDPOINT_URL"], "cloister")
        self._meters, self._ledger = DynamoMeters(tables, REGION), DynamoLedger(tables)

    def leases(self) -> dict[str, int]:
        """Those that are held: until when, by id."""
        meter = self._meters.reading(TENANT)
        assert meter is not None
        return {lease_id: held.expires_ms for lease_id, held in meter.leases.items()}

    def reap(self) -> None:
        """As the schedule does, at the instant at which the last lease's time is over."""
        last_ms = max(self.leases().values(), default=0)
        until(lambda: now_ms() > last_ms)
        Admission(self._meters, self._ledger, lease_ms=LEASE_MS, region=REGION).reap(now_ms())

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        cursor = None
        while True:
            page, cursor = self._ledger.page(TENANT, 0, 2**49, cursor, 1_000)
            found += page
            if cursor is None:
                return found

    def wrong(self, seen: Seen) -> list[str]:
        """Every way in which meter, ledger and what callers saw differ."""
        entries = self.entries()
        found = [f"lease {lease_id} is left after its time" for lease_id in self.leases()]
        found += [
            f"{number} entries of lease {each}" for each, number in _counted(e.lease_id for e in entries) if number > 1
        ]
        outcomes = {entry.request_id: entry.outcome for entry in entries}
        found += [
            f"request {each} was answered, and its entry says {outcomes.get(each)}"
            for each in seen.completed
            if outcomes.get(each) != "completed"
        ]
        if not seen.completed:
            found.append("nobody was answered")
        meter = self._meters.reading(TENANT)
        assert meter is not None and meter.windows
        for key, (window, counted) in meter.windows.items():
            unit = "requests" if key.startswith("calls") else "tokens"
            charged = sum(getattr(entry.charged, unit) for entry in entries if _month(entry.admitted_ms) == window)
            if charged != counted:
                found.append(f"{counted} {unit} in the meter, {charged} in the ledger")
        return found


def _counted(ids: Iterator[str]) -> list[tuple[str, int]]:
    return Counter(ids).most_common()


def _month(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()[:7]


def _new_tenant(system: RunningSystem) -> str:
    """Its key."""
    http = client(system)
    made = http.post("/admin/tenants", json={"id": TENANT, "name": TENANT, "pools": [POOL], "limits": LIMITS})
    assert made.status_code == 201, made.text
    key = http.post(f"/admin/tenants/{TENANT}/keys", json={"role": "developer"})
    assert key.status_code == 201, key.text
    text: str = key.json()["api_key"]
    return text


def story(state_dir: Path, seconds: float, say: Callable[[str], None]) -> list[str]:
    """What was wrong; nothing, where all is well."""
    with local_system(state_dir, environment=SHORT_LEASES) as system:
        key = _new_tenant(system)
        seen = Seen()
        second = SecondGateway(system.pids()["gateway"], state_dir / "second-gateway.log")
        try:
            with Callers((system.base_url, second.base_url), key, seen):
                recoveries = strike_in_turn(faults(system, second), key, seconds, say)
            books = Books(system)
            left = books.leases()
            books.reap()
            wrong = seen.wrong + books.wrong(seen)
        finally:
            second.stop()
        say(f"{len(recoveries)} faults; " + ", ".join(f"{what}: {n}" for what, n in sorted(seen.answers.items())))
        say(
            f"{len(left)} leases were left to expire; "
            f"the slowest recovery took {max(each.seconds for each in recoveries):.1f} s"
        )
        return wrong


def main(seconds: float) -> int:
    print(
        f"Mixed load for {seconds:.0f} s or once through all faults, load average {os.getloadavg()[0]:.1f}", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="cloister-mixed-") as folder:
        wrong = story(Path(folder), seconds, lambda line: print(line, flush=True))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
