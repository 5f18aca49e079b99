"""Every file of ``tests/corpora/framing`` through the gate to a recorder that reads strictly.

A file is a title, what is expected, and the bytes: line ends of the file count for nothing, escapes stand for bytes. A good
request goes through before and after each, for a dead server passes most negative tests.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

import pytest

from gate.wire.heads import BODIED
from tests.wire.rig import DEADLINE, eventually, read_body, response, values_of

CORPUS = Path(__file__).parents[1] / "corpora" / "framing"
CASES = sorted(path.stem for path in CORPUS.glob("*.txt"))
SILENCE = 0.15  # seconds, after which nothing more is expected
CUTS = (0, 1, 2, 3) if os.environ.get("FULL") else (0, 1)
pytestmark = pytest.mark.long


def read_case(name):
    head, _, raw = (CORPUS / f"{name}.txt").read_text().partition("----\n")
    _, *lines = head.strip().split("\n")
    said = dict(line.split(": ", 1) for line in lines)
    data = raw.replace("\n", "").encode("ascii").decode("unicode_escape").encode("latin-1")
    return [int(status) for status in said["expect"].split()], [x for x in said.get("origin", "").split(", ") if x], data


def pieces(data, seed):
    """``data`` whole (seed 0), byte by byte (1), or cut at random."""
    if seed == 0:
        return [data]
    if seed == 1 and len(data) < 2000:
        return [data[i : i + 1] for i in range(len(data))]
    rng = random.Random(seed)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(6))})
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


async def replay(gate, data, seed, answers=1):
    """Statuses of the answers until the gate closes, or falls silent after so many."""
    visitor = await gate.visitor()
    for piece in pieces(data, seed):
        try:
            await visitor.send(piece)
        except ConnectionError:
            break
        if seed:
            await asyncio.sleep(0)
    statuses = []
    method = data.lstrip(b"\r\n").split(b" ")[0]
    while True:
        try:
            async with asyncio.timeout(SILENCE if len(statuses) >= answers else DEADLINE):
                status, fields, _ = await visitor.answer(head_only=method == b"HEAD" and not statuses)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            break
        if status != 100:
            statuses.append(status)
        if fields.get("connection") == ["close"]:
            break
    visitor.close()
    return statuses


@pytest.fixture
async def gate(start):
    async def recorder(side):
        while head := await side.head():
            assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r")
            lower = head.lower()
            assert lower.count(b"\r\nhost:") == 1
            assert lower.count(b"\r\ncontent-length:") + lower.count(b"\r\ntransfer-encoding:") <= 1
            for name in (b"trailer", b"te", b"upgrade", b"expect", b"keep-alive", b"http2-settings"):
                assert b"\r\n" + name + b":" not in lower
            body = await read_body(side, head)
            method, target, _ = head.split(b" ", 2)
            unread = method.decode() not in BODIED and (body or b"\r\ntransfer-encoding:" in lower)
            assert values_of(head, b"connection") == ([b"close"] if unread else [])
            side.seen.append(f"{method.decode()} {target.decode()} {len(body)}")
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if method == b"HEAD" else b"ok"))

    async def script(side):
        side.seen = seen
        await recorder(side)

    seen = []
    gate = await start(script)
    gate.seen = seen
    return gate


@pytest.mark.parametrize("name", [name for name in CASES if name.partition("-on-")[2]])
async def test_a_body_that_an_origin_leaves_unread_is_nobodys_request(start, name):
    """RFC 9110 section 9.3.1: some origins read no body of a GET, and take it for the next request ("CL.0")."""
    expected, origin, data = read_case(name)
    seen = []

    async def careless(side):
        while head := await side.head():
            method, target, _ = head.split(b" ", 2)
            seen.append(f"{method.decode()} {target.decode()}")
            await side.send(response(b"" if method == b"HEAD" else b"ok"))
            if values_of(head, b"connection") == [b"close"]:
                return

    gate = await start(careless)
    for seed in CUTS:
        seen.clear()
        assert await replay(gate, data, seed, len(expected)) == expected
        assert seen == [request.rpartition(" ")[0] for request in origin]
    assert all(b" /a " not in request for side in gate.origin.sides for request in side.requests[:-1])


@pytest.mark.parametrize("name", CASES)
async def test_framing(gate, name):
    expected, origin, data = read_case(name)
    for seed in CUTS:
        assert await replay(gate, b"GET /control HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n", 0) == [200]
        gate.seen.clear()
        assert await replay(gate, data, seed, max(1, len(expected))) == expected, f"{name}, cut {seed}"
        assert [request for request in gate.seen if request != "GET /control 0"] == origin
    assert await replay(gate, b"GET /control HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n", 0) == [200]
    await eventually(lambda: gate.engine.shop.overload.current == 0, "nothing is left behind")
