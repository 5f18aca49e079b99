"""The contests: what is forwarded, what the gate answers itself, against whom, and the ratio to reach."""

import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.jwk import OctKey

from gate import keys
from gate.core.credentials import KeyRing, Pass, new_id
from tests.bench import recipes
from tests.bench.contest import Case, answer, compete, started
from tests.bench.peers import Peers
from tests.bench.processes import LOAD, SERVER, DidNotStart, pin, running
from tests.processes import Gate, eventually, fetch, free_port

DONE = 200
# for those who stand in line: at one an hour nobody's wait is said in the words of another's, as it is wherever people wait
LINED = {"checkout": {"match": ["/checkout/**"], "rate": "1/minute", "burst": 1}}


@dataclass
class Bench:
    """One run of the benchmark: where, with whom, how long."""

    directory: Path
    peers: Peers
    rounds: int
    seconds: float
    warm: float
    say: Callable[[str], None]
    big: int = 64 << 20  # bytes, of the large file
    passes: int = 20_000  # different ones, in turn
    missing: list[str] = field(default_factory=list)

    def leave_out(self, name: str, why: str) -> None:
        self.missing.append(f"{name}: {why}")
        self.say(f"left out: {name}: {why}")

    def folder(self, name: str) -> Path:
        prefix = "".join(letter if letter.isalnum() else "-" for letter in name) + "-"
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.directory))


@dataclass(frozen=True)
class Contest:
    """A finished group of cases. ``store``: store calls of the gate per request of its first case."""

    title: str
    cases: list[Case]
    store: str = ""


@contextlib.contextmanager
def origin(bench: Bench) -> Iterator[int]:
    """The port of nginx with the files, on the load's core."""
    place = recipes.Place(bench.peers, bench.folder("origin"), free_port(), 0)
    with running("origin", recipes.origin(place, bench.big), place.directory, LOAD):
        eventually(lambda: answer(f"http://127.0.0.1:{place.port}/healthz"), 10, what="the origin is up")
        yield place.port


@contextlib.contextmanager
def gate(bench: Bench, servers: int, workers: int = 1, core: int | None = SERVER, **settings: Any) -> Iterator[Gate]:
    """The gate as it ships: supervisor, operator process, embedded store and ``workers``, all on one core."""
    directory = bench.folder(f"gate-{secrets.token_hex(3)}")
    rooms = {"checkout": {"match": ["/checkout/**"], "rate": "1/hour"}}  # whoever has no pass waits
    config = {"workers": workers, "origin": {"servers": [f"http://127.0.0.1:{servers}"]}, "rooms": rooms, **settings}
    it = Gate(directory, config)
    it.start()
    try:
        assert it.process is not None
        if core is not None:
            pin(it.process.pid, core)
        yield it
    finally:
        it.stop()


def process_of(it: Gate) -> int:
    assert it.process is not None
    return it.process.pid


def sign(ring: KeyRing, count: int) -> list[str]:
    """Fresh passes of ``checkout``, made with the gate's own keys."""
    now = time.time()
    return [ring.sign_pass(Pass("checkout", new_id(secrets.token_bytes), now, now + 600)) for _ in range(count)]


def sign_with_text(secret: str, count: int) -> list[str]:
    """The same kind of token under a key that can stand in HAProxy's config."""
    key, now = OctKey.import_key(secret), int(time.time())
    tokens = []
    for _ in range(count):
        claims = {"aud": "checkout", "jti": new_id(secrets.token_bytes), "iat": now, "exp": now + 600}
        body = json.dumps(claims, separators=(",", ":"))
        tokens.append(jws.serialize_compact({"alg": "HS256", "typ": "JWT", "kid": "a6074521"}, body, key, algorithms=["HS256"]))
    return tokens


def write(directory: Path, name: str, tokens: list[str]) -> Path:
    """A file of Cookie lines for wrk."""
    path = directory / f"{name}.cookies"
    path.write_text("".join(f"{recipes.COOKIE}={token}\n" for token in tokens))
    return path


def _right(url: str, length: int, cookie: str, *, guarded: bool, decision: str = "") -> Callable[[], str]:
    """Checks one answer; a guard must let the right cookie in and nobody without one."""

    def check() -> str:
        got = answer(url, {"Cookie": cookie})
        if got is None or got.status != DONE or len(got.body) != length:
            return f"wrong answer: {got and (got.status, len(got.body), got.decision)}, not {(DONE, length)}"
        if decision and not (got.decision.startswith("forward") and decision in got.decision):
            return f"wrong decision: {got.decision!r}"
        if guarded:
            for bad in ({}, {"Cookie": cookie[:-2] + ("AA" if cookie[-2:] != "AA" else "BB")}):
                refused = answer(url, bad)
                if refused is None or refused.status == DONE:
                    return "lets in who has no pass"
        return ""

    return check


# name, recipe, what it needs, key ("" none, "ring" the gate's, "text" HAProxy's), ratio to reach, aim
_Row = tuple[str, Callable[..., list[str]], tuple[str, ...], str, float, float | None]
FORWARD: list[_Row] = [
    ("nginx, bare", recipes.nginx, ("nginx",), "", 0.50, 0.65),
    ("nginx + njs HMAC", recipes.nginx_njs, ("nginx", "njs"), "ring", 0.95, 1.1),
    ("HAProxy jwt_verify HS256", recipes.haproxy_jwt, ("haproxy",), "text", 0.95, 1.1),
    ("Envoy + jwt_authn HS256", recipes.envoy_jwt, ("envoy",), "ring", 2.0, 2.5),
    ("Traefik, bare", recipes.traefik, ("traefik",), "", 2.5, 3.2),
    ("Caddy, bare", recipes.caddy, ("caddy",), "", 3.2, 4.0),
    ("uvicorn, hello world", lambda place: recipes.asgi(place, "hello"), ("uvicorn",), "", 0.85, 1.1),
    (
        "Starlette + httpx",
        lambda place: recipes.asgi(place, "starlette-httpx"),
        ("uvicorn", "starlette", "httpx"),
        "",
        50.0,
        None,
    ),
    ("ASGI + aiohttp", lambda place: recipes.asgi(place, "aiohttp"), ("uvicorn", "aiohttp"), "", 6.0, None),
    ("proxy.py", recipes.proxy_py, ("proxy.py",), "", 12.0, None),
    ("mitmproxy", recipes.mitmproxy, ("mitmproxy",), "", 45.0, None),
]
LARGE: list[_Row] = [
    ("nginx, default buffers", recipes.nginx, ("nginx",), "", 0.95, 1.2),
    ("nginx, 16 × 64 KB buffers", recipes.nginx_tuned, ("nginx",), "", 0.65, 0.85),
]


def forward(bench: Bench, only: str = "") -> Contest:
    """1 KB with a verified pass, from 20,000 passes in turn."""
    return _forwarding(
        bench, f"Forward 1 KB with a verified pass, {bench.passes:,} distinct passes", "/checkout/1k", 1024, FORWARD, only
    )


def large(bench: Bench, only: str = "") -> Contest:
    return _forwarding(bench, "Forward 100 KB with a verified pass", "/checkout/100k", 102_400, LARGE, only)


def _forwarding(bench: Bench, title: str, path: str, length: int, rows: list[_Row], only: str) -> Contest:
    bench.say(title)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(origin(bench))
        it = stack.enter_context(gate(bench, port))
        eventually(lambda: fetch(it.url + path).decision.startswith("wait"), 10, what="who has no pass waits")
        ring = keys.ensure_keyring(it.state_directory)
        text = secrets.token_hex(32)
        folder = bench.folder(f"cookies{path.replace('/', '-')}")
        tokens = sign(ring, bench.passes)
        lines = {"ring": write(folder, "ring", tokens), "text": write(folder, "text", sign_with_text(text, bench.passes))}
        first = {kind: file.read_text().partition("\n")[0] for kind, file in lines.items()}
        right = _right(it.url + path, length, first["ring"], guarded=True, decision="reason=pass")
        cases = [Case("Floodgate", process_of(it), it.url + path, right, lines["ring"])]
        for name, recipe, needs, key, least, aim in rows:
            if only and only not in name.lower():
                continue
            if absent := [need for need in needs if need not in bench.peers]:
                bench.leave_out(name, f"no {', '.join(absent)} here")
                continue
            place = recipes.Place(bench.peers, bench.folder(name + path), free_port(), port)
            secret = {"ring": (ring.newest.derive("pass"),), "text": (text,), "": ()}[key]
            kind, url = key or "ring", f"http://127.0.0.1:{place.port}{path}"
            hello = "hello" in name
            check = _right(url, 12 if hello else length, first[kind], guarded=bool(key))
            cookie = first[kind]
            try:
                pid = stack.enter_context(
                    started(name, recipe(place, *secret), place.directory, lambda u=url, c=cookie: answer(u, {"Cookie": c}))
                )
            except (DidNotStart, OSError) as error:
                bench.leave_out(name, str(error))
                continue
            cases.append(Case(name, pid, url, check, lines[kind], least=least, aim=aim))
        calls = StoreCalls(it)
        compete(cases, rounds=bench.rounds, seconds=bench.seconds, warm=bench.warm, passes=bench.passes, say=bench.say)
        return Contest(title, cases, calls.per(cases[0]))


def line(bench: Bench, only: str = "") -> Contest:
    """The waiting page for visitors who never came before: each gets a ticket of its own."""
    title = "Line page (HTML), a new signed ticket for every request"
    return _own(bench, title, "/checkout/pay", ("Accept: text/html",), 0.8, 1.2, _a_ticket_each, refusals=True)


def status(bench: Bench, only: str = "") -> Contest:
    title = "Shared status document of a room"
    return _own(bench, title, "/__gate/rooms/checkout/status", ("Accept: application/json",), 1.2, 2.0, _a_document)


def _own(
    bench: Bench,
    title: str,
    path: str,
    headers: tuple[str, ...],
    least: float,
    aim: float,
    right: Callable[[str], str],
    refusals: bool = False,
) -> Contest:
    bench.say(title)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(origin(bench))
        it = stack.enter_context(gate(bench, port, rooms=LINED))
        eventually(lambda: fetch(it.url + "/checkout/pay").decision.startswith("wait"), 10, what="a line stands")
        cases = [
            Case("Floodgate", process_of(it), it.url + path, lambda: right(it.url + path), None, headers, refusals=refusals)
        ]
        if "uvicorn" in bench.peers:
            place = recipes.Place(bench.peers, bench.folder(f"hello {path}"), free_port(), port)
            url = f"http://127.0.0.1:{place.port}/"
            pid = stack.enter_context(
                started("uvicorn, hello world", recipes.asgi(place, "hello"), place.directory, lambda: answer(url))
            )
            check = _right(url, 12, "", guarded=False)
            cases.append(Case("uvicorn, hello world", pid, url, check, None, headers, least, aim))
        else:
            bench.leave_out("uvicorn, hello world", "no uvicorn here")
        calls = StoreCalls(it)
        compete(cases, rounds=bench.rounds, seconds=bench.seconds, warm=bench.warm, passes=bench.passes, say=bench.say)
        return Contest(title, cases, calls.per(cases[0]))


def _a_ticket_each(url: str) -> str:
    pages = [fetch(url, headers={"Accept": "text/html"}) for _ in range(3)]
    if any(page.status != 503 or not page.decision.startswith("wait") or b"</html>" not in page.body for page in pages):
        return f"not waiting pages: {[(page.status, page.decision, len(page.body)) for page in pages]}"
    tickets = {page.cookies.get("gate_ticket_checkout") for page in pages}
    return "" if len(tickets - {None}) == len(pages) else "two visitors got one ticket"


def _a_document(url: str) -> str:
    page = fetch(url, headers={"Accept": "application/json"})
    return "" if page.status == DONE and page.json()["room"] == "checkout" else f"no status document: {page.status}"


class StoreCalls:
    """Round trips of the gate to its store, from ``INFO commandstats``: scripts (all of the line is scripts)."""

    def __init__(self, it: Gate) -> None:
        self._socket = str(it.state_directory / "store/store.sock")
        self._began, self._before = time.monotonic(), self._count()
        time.sleep(1)
        self._idle = max(0, self._count() - self._before) / (time.monotonic() - self._began)  # the gate's own clockwork

    def _count(self) -> int:
        from redis import Redis

        with Redis(unix_socket_path=self._socket) as client:
            stats: dict[str, dict[str, int]] = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha", "fcall"))

    def total(self) -> int:
        return self._count() - self._before

    def per(self, case: Case) -> str:
        """Calls, with and without the ones that an idle gate makes too."""
        requests = case.handled
        took = time.monotonic() - self._began
        calls = self.total()
        rest = max(0.0, calls - self._idle * took)
        clockwork = f"{self._idle * took:.0f} an idle gate makes too"
        share = rest / max(1, requests)
        return f"{calls} script calls in {took:.0f} s, of which {clockwork}: {share:.5f} for each of {requests:,} requests"
