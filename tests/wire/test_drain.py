"""The end of a worker: nobody who behaves sees a failure (uvicorn calls ``shutdown`` and waits for the connections)."""

import asyncio
import contextlib

from tests.wire.rig import eventually


async def test_what_is_in_flight_finishes_and_keep_alive_ends(start):
    go_on = asyncio.Event()

    async def script(side):
        while head := await side.head():
            if b"/slow" in head:
                await go_on.wait()
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    gate = await start(script, under_uvicorn=True)
    busy, idle, late = [await gate.visitor() for _ in range(3)]
    assert (await idle.get("/a"))[0] == 200
    assert (await late.get("/a"))[0] == 200
    await busy.send(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    while len(gate.origin.heads) < 3:
        await asyncio.sleep(0.01)
    gate.end()
    while not gate.door.draining:
        await asyncio.sleep(0.01)
    status, fields, _ = await late.get("/b")  # was on its way when the worker was told to end
    assert (status, fields["connection"]) == (200, ["close"])
    assert await idle.rest() == b""
    go_on.set()
    status, fields, body = await busy.answer()
    assert (status, fields["connection"], body) == (200, ["close"], b"ok")
    assert await busy.rest() == b""


async def test_who_was_told_that_the_connection_stays_may_ask_once_more(start):
    """The head of an answer was out when the worker was told to end: the visitor cannot know of it yet."""
    go_on = asyncio.Event()

    async def script(side):
        while await side.head():
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            await go_on.wait()
            await side.send(b"k")

    gate = await start(script, under_uvicorn=True)
    visitor = await gate.visitor()
    await visitor.send(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    await visitor.until(b"\r\n\r\no")
    gate.end()
    while not gate.door.draining:
        await asyncio.sleep(0.01)
    go_on.set()
    rest = await visitor.until(b"k")
    assert b"close" not in rest
    status, fields, _ = await visitor.get("/b")
    assert (status, fields["connection"]) == (200, ["close"])
    assert await visitor.rest() == b""


async def test_no_request_fails_under_a_rolling_end(start):
    gate = await start(under_uvicorn=True)
    failures = 0

    async def shopper():
        nonlocal failures
        visitor = await gate.visitor()
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                try:
                    status, fields, _ = await visitor.get("/a")
                except (ConnectionError, asyncio.IncompleteReadError):
                    failures += 1
                    return
                failures += status != 200
                if fields.get("connection") == ["close"]:
                    return
                await asyncio.sleep(0.02)

    shoppers = [asyncio.create_task(shopper()) for _ in range(30)]
    await eventually(lambda: len(gate.door.connections) == 30 and len(gate.origin.heads) > 100, "all are at it")
    gate.end()
    await asyncio.gather(*shoppers)
    assert failures == 0


async def test_a_tunnel_gets_time(start, monkeypatch):
    monkeypatch.setattr("gate.wire.tunnel.LAST_WORDS", 2.0)

    async def script(side):
        await side.head()
        await side.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        while data := await side.reader.read(100):
            await side.send(data)

    gate = await start(script, under_uvicorn=True)
    visitor = await gate.visitor()
    assert (await visitor.get("/live", "Connection: Upgrade", "Upgrade: x"))[0] == 101
    gate.end()
    while not gate.door.draining:
        await asyncio.sleep(0.01)
    await visitor.send(b"last words")
    assert await visitor.exactly(10) == b"last words"
    assert await visitor.rest() == b""
