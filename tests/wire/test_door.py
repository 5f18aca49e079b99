"""The door: what it refuses and how it says so, how many it lets in, and what it tells the access log."""

import asyncio
import json
import resource

import pytest

from gate.core.settings import Settings
from gate.core.words import Outcome, Reason
from gate.wire.crowd import most_connections
from tests.wire.rig import MemoryAccess, eventually


@pytest.mark.parametrize(
    ("target", "status"),
    [("/../x", 400), ("/a\\b", 400), ("/a/%2e%2e/checkout", 400), ("/a%5cb", 400), ("/%00", 400), ("/" + "a" * 9000, 414)],
)
async def test_targets_that_two_programs_could_read_differently(start, target, status):
    gate = await start()
    visitor = await gate.visitor()
    answered, fields, _ = await visitor.get(target)
    assert (answered, fields["connection"]) == (status, ["close"])
    assert fields["gate-decision"][0].startswith("refuse; ")
    assert await visitor.rest() == b""
    assert gate.origin.heads == []
    assert (await (await gate.visitor()).get("/"))[0] == 200


async def test_a_refusal_is_in_the_form_that_is_asked_for(start):
    gate = await start()
    visitor = await gate.visitor()
    status, fields, body = await visitor.get("/../x", "Accept: application/json")
    assert (status, fields["content-type"]) == (400, ["application/problem+json"])
    assert json.loads(body)["status"] == 400
    visitor = await gate.visitor()
    status, fields, _ = await visitor.get("/", method="TRACE")
    assert status == 405
    assert "GET" in fields["allow"][0]


@pytest.mark.parametrize("path", ["/", "/checkout/pay"])
async def test_a_fault_in_the_gate_is_never_a_500(start, monkeypatch, path):
    gate = await start()

    def broken(*_):
        raise RuntimeError("a bug")

    visitor = await gate.visitor()
    monkeypatch.setattr(gate.engine, "headers_for_visitor", broken)
    monkeypatch.setattr(gate.engine, "answer", broken)
    status, fields, _ = await visitor.get(path)
    assert (status, fields["retry-after"]) == (503, ["5"])
    monkeypatch.undo()
    assert (await (await gate.visitor()).get("/"))[0] == 200


async def test_a_connection_too_many_is_told_so(start):
    gate = await start(visitors={"connections": 16})
    inside = [await gate.visitor() for _ in range(16)]
    for visitor in inside:
        assert (await visitor.get("/"))[0] == 200
    crowded = [await gate.visitor() for _ in range(2)]
    await eventually(lambda: len(gate.door.connections) == 18)
    for visitor in crowded:
        status, fields, _ = await visitor.get("/")
        assert (status, fields["connection"], fields["retry-after"]) == (503, ["close"], ["5"])
        assert await visitor.rest() == b""
    silent = [await gate.visitor() for _ in range(2)]
    await eventually(lambda: len(gate.door.connections) == 18)
    cut = await gate.visitor()  # too many even for an answer
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await cut.get("/")
    for visitor in silent:  # who says nothing is not kept
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await visitor.exactly(1)
    for visitor in (*inside[1:], *crowded):
        visitor.close()
    await eventually(lambda: len(gate.door.connections) == 1)
    assert (await inside[0].get("/"))[0] == 200
    assert (await (await gate.visitor()).get("/"))[0] == 200


@pytest.mark.parametrize(
    ("files", "wanted", "most"),
    [
        (20_000, 1 << 40, (20_000 - 128 - 2 * 256) * 64 // 65),  # the store and others, the origin, and who is told
        (20_000, 10, 10),
        (600, 1 << 40, 300 * 64 // 65),  # half, where the rest would be hardly anything
        (resource.RLIM_INFINITY, 1 << 40, 1 << 40),
    ],
)
def test_the_limit_of_open_files_bounds_the_connections(monkeypatch, files, wanted, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    origin = {"servers": ["http://127.0.0.1:9001", "http://127.0.0.1:9002"], "connections": 256}
    assert most_connections(Settings.model_validate({"origin": origin, "visitors": {"connections": wanted}})) == most


class TestAccessLog:
    async def test_one_line_per_finished_request(self, start):
        gate = await start()
        access = gate.engine.access = MemoryAccess()
        visitor = await gate.visitor()
        _, _, body = await visitor.get("/a?secret=1")
        await visitor.get("/a", method="HEAD")
        _, _, page = await visitor.get("/checkout/x")
        await visitor.get("/checkout/y", gate.pass_cookie())
        await visitor.send(b"POST /up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc")
        await visitor.answer()
        _, _, own = await visitor.get("/__gate/x")
        told = [(path, decision.outcome, decision.reason, status, sent) for path, decision, status, sent in access.lines]
        assert told == [
            ("/a", Outcome.FORWARD, Reason.UNGUARDED, 200, len(body)),
            ("/a", Outcome.FORWARD, Reason.UNGUARDED, 200, 0),
            ("/checkout/x", Outcome.WAIT, Reason.RATE, 503, len(page)),
            ("/checkout/y", Outcome.FORWARD, Reason.PASS, 200, len(b"GET /checkout/y 0")),
            ("/up", Outcome.FORWARD, Reason.UNGUARDED, 200, len(b"POST /up 3")),
            ("/__gate/x", Outcome.OWN, Reason.ENDPOINT, 200, len(own)),
        ]

    async def test_what_was_decided_in_the_end(self, start):
        async def script(side):
            head = await side.head()
            if b"/half" in head:
                await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                await asyncio.sleep(0.05)
            elif b"/slow" in head:
                await side.ended()

        gate = await start(script, routes=[{"match": "/small", "body": 1}])
        access = gate.engine.access = MemoryAccess()
        visitor = await gate.visitor()
        _, _, page = await visitor.get("/broken")
        await visitor.send(b"POST /small HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nab")
        assert (await visitor.answer())[0] == 413
        visitor = await gate.visitor()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await visitor.get("/half")
        visitor = await gate.visitor()
        await visitor.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        await eventually(lambda: b"/slow" in gate.origin.heads[-1])
        visitor.close()
        await eventually(lambda: len(access.lines) == 4)
        told = [(path, decision.outcome, status) for path, decision, status, _ in access.lines]
        assert told == [
            ("/broken", Outcome.FALLBACK, 503),
            ("/small", Outcome.REFUSE, 413),
            ("/half", Outcome.FORWARD, 200),
            ("/slow", Outcome.FORWARD, 499),
        ]
        assert access.lines[0][3] == len(page)
        assert access.lines[2][3] == len(b"hello")
