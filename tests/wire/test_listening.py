"""HTTPS on the visitors' side: who never shakes hands takes no more than others, and not for long."""

import asyncio
import contextlib
import socket
import ssl
import subprocess

import pytest

from gate.serve import bind
from gate.wire.listening import Listener
from tests.wire.rig import DEADLINE, Visitor, eventually, values_of


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    words = [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run(words, check=True, capture_output=True)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    return ours, ssl.create_default_context(cafile=str(cert))


class Https:
    """A gate that listens for HTTPS as well."""

    def __init__(self, gate, tls):
        self.gate, self.door = gate, gate.door
        context, self.trust = tls
        self.sock = bind("127.0.0.1:0")
        self.port = self.sock.getsockname()[1]
        self.listener = Listener(gate.door, context, self.sock)

    async def visitor(self):
        secure = {"ssl": self.trust, "server_hostname": "localhost"}
        visitor = Visitor(*await asyncio.open_connection("127.0.0.1", self.port, **secure))
        self.gate.visitors.append(visitor)
        return visitor

    async def bare(self):
        visitor = Visitor(*await asyncio.open_connection("127.0.0.1", self.port))
        self.gate.visitors.append(visitor)
        return visitor


@pytest.fixture
async def https(start, tls):
    async with contextlib.AsyncExitStack() as stack:

        async def begin(*args, **config):
            it = Https(await start(*args, **config), tls)
            stack.callback(it.sock.close)
            stack.push_async_callback(it.listener.close, 0.0)
            return it

        yield begin


async def cut_off(visitor):
    with contextlib.suppress(ConnectionError):
        assert await visitor.rest() == b""


async def test_a_request_by_https(https):
    it = await https()
    visitor = await it.visitor()
    assert (await visitor.get("/a"))[2] == b"GET /a 0"
    assert values_of(it.gate.origin.heads[0], b"x-forwarded-proto") == [b"https"]
    assert values_of(it.gate.origin.heads[0], b"x-forwarded-for") == [b"127.0.0.1"]
    await eventually(lambda: it.door.taken == 1)
    (connection,) = it.door.connections
    assert connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    visitor.close()
    await eventually(lambda: it.door.taken == 0)


async def test_who_never_shakes_hands_is_counted_at_once_and_cut_off_soon(https):
    it = await https(visitors={"connections": 10, "head": "3s"})
    bare = [await it.bare() for _ in range(30)]
    await eventually(lambda: len(it.door.shaking) == 12, "two more than there may be: they could have been told so")
    for visitor in bare[12:]:
        await cut_off(visitor)  # at once
    assert len(it.door.shaking) == 12
    for visitor in bare:
        await cut_off(visitor)
    await eventually(lambda: it.door.taken == 0, "their time is over")
    assert (await (await it.visitor()).get("/a"))[0] == 200


@pytest.mark.parametrize("says", [b"", b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
async def test_a_handshake_that_fails_is_over(https, caplog, says):
    it = await https(visitors={"head": "60s"})
    for end in ("close", "reset"):
        bare = await it.bare()
        await eventually(lambda: it.door.shaking)
        await bare.send(says)
        bare.reset() if end == "reset" else bare.close()
        await eventually(lambda: it.door.taken == 0)
    assert (await (await it.visitor()).get("/a"))[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_one_too_many_is_told_so_by_https(https):
    it = await https(visitors={"connections": 3})
    visitors = [await it.visitor() for _ in range(3)]
    await eventually(lambda: it.door.taken == 3)
    assert (await (await it.visitor()).get("/a"))[0] == 503
    for visitor in visitors:
        assert (await visitor.get("/a"))[0] == 200


async def test_who_has_begun_may_finish_when_the_worker_ends(https, tls):
    it = await https()
    bare = await it.bare()
    await eventually(lambda: it.door.shaking)
    end = asyncio.create_task(it.listener.close(DEADLINE))
    await asyncio.sleep(0)
    assert not end.done()
    await asyncio.wait_for(bare.writer.start_tls(tls[1], server_hostname="localhost"), DEADLINE)
    assert (await bare.get("/a"))[0] == 200
    await end
    it.sock.setblocking(False)
    late = await it.bare()  # the kernel keeps it for the successor
    (waiting, _) = it.sock.accept()
    waiting.close()
    late.close()


async def test_without_a_file_it_is_tried_again(https, monkeypatch):
    monkeypatch.setattr("gate.wire.listening.NO_FILES", 0.05)
    it = await https()
    tries = []

    class Full:
        """A listening socket of a process that may open no more files."""

        def __init__(self, sock):
            self.fileno, self._accept = sock.fileno, sock.accept

        def accept(self):
            tries.append(1)
            if len(tries) < 3:
                raise OSError(24, "Too many open files")
            return self._accept()

    it.listener._sock = Full(it.sock)
    assert (await (await it.visitor()).get("/a"))[0] == 200
    assert len(tries) >= 3
