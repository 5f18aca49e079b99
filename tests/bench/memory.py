"""Memory: large bodies past slow ends, and connections that stay open."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gate import keys
from tests.bench import recipes
from tests.bench.cases import Bench, gate, origin, process_of, sign
from tests.bench.contest import answer, started
from tests.bench.processes import LOAD, memory, running
from tests.processes import Gate, eventually, free_port

STREAMS = 8
PACE = 10_000_000  # bytes a second of a slow end
Row = tuple[str, str, str, str, str]  # what, who, measured, at most, aim


@contextlib.contextmanager
def peak(pid: int) -> Iterator[Callable[[], float]]:
    """How far the tree's memory grew at most, MB."""
    before, most, over = memory(pid), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], memory(pid) - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: max(0.0, most[0])
    finally:
        over.set()
        thread.join()


def _download(port: int, cookie: str, size: int, done: list[int], pace: int = PACE) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", port))
        sock.sendall(f"GET /checkout/big HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
        began, got, head = time.monotonic(), 0, b""
        while data := sock.recv(65536):
            if b"\r\n\r\n" not in head:
                head += data
                data = head.partition(b"\r\n\r\n")[2] if b"\r\n\r\n" in head else b""
            got += len(data)
            if (ahead := got / pace - (time.monotonic() - began)) > 0:
                time.sleep(ahead)
    done.append(int(head.startswith(b"HTTP/1.1 200") and got == size))


def _upload(port: int, cookie: str, size: int, done: list[int]) -> None:
    """As fast as the other side takes it."""
    block = b"x" * 65536
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        head = f"POST /checkout/up HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode())
        for _ in range(size // len(block)):
            sock.sendall(block)
        done.append(int(sock.recv(65536).startswith(b"HTTP/1.1 200")))


def _together(work: Callable[..., None], *arguments: object) -> int:
    """How many of the streams arrived whole."""
    done: list[int] = []
    threads = [threading.Thread(target=work, args=(*arguments, done)) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return sum(done)


def measure(bench: Bench, connections: int = 10_000) -> list[Row]:
    """Downloads by slow readers, idle connections, uploads to a slow origin: what each costs while it lasts."""
    size = f"{bench.big >> 20} MB"
    bench.say(f"Memory: {size} down and up, {STREAMS} at once, {PACE // 1_000_000} MB/s each; {connections:,} idle connections")
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(origin(bench))
        it = stack.enter_context(gate(bench, port))
        servers = [("Floodgate", it.port, process_of(it), _cookie(it))]
        for name, recipe, needs in (
            ("nginx, bare", recipes.nginx, "nginx"),
            ("uvicorn, hello world", lambda place: recipes.asgi(place, "hello"), "uvicorn"),
        ):
            if needs in bench.peers:
                place = recipes.Place(bench.peers, bench.folder(name), free_port(), port)
                url = f"http://127.0.0.1:{place.port}/healthz"
                pid = stack.enter_context(started(name, recipe(place), place.directory, lambda u=url: answer(u)))
                servers.append((name, place.port, pid, "none=1"))
        for name, where, pid, cookie in servers:
            if "hello" not in name:
                grown = _down(name, where, pid, cookie, bench.big)
                rows.append(_row(f"{size} down, a stream", name, f"{grown:.2f} MB", "2 MB", "0.5 MB"))
        for name, where, pid, cookie in servers:
            request = f"GET /checkout/1k HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
            used = _idle(where, pid, request.encode(), connections)
            rows.append(_row("idle connection", name, f"{used:.1f} KB", "6 KB", "3 KB"))
    rows.insert(2, _row(f"{size} up, a stream", "Floodgate", f"{_up(bench):.2f} MB", "2 MB", "0.5 MB"))
    for row in rows:
        bench.say(f"  {row[0]:28} {row[1]:22} {row[2]}")
    return rows


def _row(what: str, who: str, measured: str, most: str, aim: str) -> Row:
    """Targets are ours alone."""
    return (what, who, measured, most, aim) if who == "Floodgate" else (what, who, measured, "", "")


def _up(bench: Bench) -> float:
    """MB a stream."""
    slow, port = bench.folder("sink"), free_port()
    routes = [{"match": "/checkout/up", "body": f"{bench.big >> 20}MiB"}]
    sink = [sys.executable, str(Path(__file__).parent / "sink.py"), str(port), str(PACE)]
    with running("sink", sink, slow, LOAD):
        eventually(lambda: answer(f"http://127.0.0.1:{port}/healthz"), 10, what="the slow origin is up")
        with gate(bench, port, routes=routes) as it:
            cookie = _cookie(it)
            with peak(process_of(it)) as grown:
                whole = _together(_upload, it.port, cookie, bench.big)
            assert whole == STREAMS, f"{whole} of {STREAMS} uploads arrived whole"
            return grown() / STREAMS


def _cookie(it: Gate) -> str:
    [token] = sign(keys.ensure_keyring(it.state_directory), 1)
    return f"{recipes.COOKIE}={token}"


def _down(name: str, port: int, pid: int, cookie: str, size: int) -> float:
    """MB a stream, after one fast download."""
    warm: list[int] = []
    _download(port, cookie, size, warm, pace=1 << 40)
    with peak(pid) as grown:
        whole = _together(_download, port, cookie, size)
    assert warm == [1], f"{name}: the first download did not arrive whole"
    assert whole == STREAMS, f"{name}: {whole} of {STREAMS} downloads arrived whole"
    return grown() / STREAMS


def _idle(port: int, pid: int, request: bytes, count: int) -> float:
    """KB a connection: each has asked once, and stays."""
    before = memory(pid)
    kept: list[socket.socket] = []
    try:
        for number in range(count):
            sock = socket.create_connection(("127.0.0.1", port), 10, (f"127.0.0.{2 + number % 50}", 0))
            kept.append(sock)
            sock.sendall(request)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200"), "not the right answer"
        return (memory(pid) - before) * 1000 / count
    finally:
        for sock in kept:
            sock.close()
