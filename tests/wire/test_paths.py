"""The corpus of paths through the gate: what is ambiguous is refused, what is guarded waits, and what goes on is unchanged."""

import pytest

from gate.core.path import MalformedTarget, canonical
from gate.core.pattern import Pattern
from tests.processes import ROOT
from tests.wire.rig import read_body, response

GUARD = Pattern.parse("/checkout/**")


def lines():
    for file in sorted((ROOT / "tests/corpora/paths").glob("*.txt")):
        for line in file.read_text().splitlines():
            if not line.startswith("#") and line.partition(" -> ")[0]:
                yield line.partition(" -> ")[0]


CORPUS = list(lines())


async def shop(side):
    while head := await side.head():
        await read_body(side, head)
        await side.send(response(head.split(b" ")[1]))


async def ask(gate, target, *fields):
    """The answer to ``target``, byte for byte as it stands there, on a connection of its own."""
    visitor = await gate.visitor()
    lines = "".join(f"{field}\r\n" for field in (*fields, "Connection: close"))
    await visitor.send(f"GET {target} HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n".encode())
    return await visitor.answer()


async def control(gate):
    assert (await ask(gate, "/products"))[2] == b"/products"
    assert (await ask(gate, "/checkout", gate.pass_cookie()))[2] == b"/checkout"
    gate.origin.heads.clear()


async def test_without_a_pass_no_spelling_reaches_a_guarded_path(start):
    gate = await start(shop)
    await control(gate)
    counted = {"refused": 0, "waiting": 0, "forwarded": 0}
    for target in CORPUS:
        status, fields, body = await ask(gate, target)
        try:
            path, _ = canonical(target.encode())
        except MalformedTarget:
            assert (status, fields["gate-decision"]) == (400, ["refuse; reason=malformed"]), target
            counted["refused"] += 1
        else:
            if any(GUARD.matches("GET", reading) for reading in path.readings):
                assert (status, gate.origin.heads) == (503, []), target
                counted["waiting"] += 1
            else:
                assert (status, body) == (200, path.raw), target
                counted["forwarded"] += 1
        gate.origin.heads.clear()
    assert min(counted.values()) > 10
    await control(gate)


async def test_what_is_decided_on_is_what_is_forwarded(start):
    """With a pass, every spelling that is let through reaches the shop as the bytes that were decided on."""
    gate = await start(shop)
    await control(gate)
    for target in CORPUS:
        try:
            path, _ = canonical(target.encode())
        except MalformedTarget:
            continue
        status, _, body = await ask(gate, target, gate.pass_cookie())
        assert (status, body) == (200, path.raw)
        assert path.raw.lstrip(b"/") == target.encode().lstrip(b"/")  # only leading slashes are joined
        assert [head.split(b" ")[1] for head in gate.origin.heads] == [path.raw]
        gate.origin.heads.clear()
    await control(gate)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "PURGE"])
async def test_no_method_is_a_way_around(start, method):
    gate = await start(shop)
    visitor = await gate.visitor()
    assert (await visitor.get("/checkout", method=method))[0] == 503
    assert gate.origin.heads == []
    assert (await visitor.get("/checkout", gate.pass_cookie(), method="GET"))[0] == 200


async def test_unknown_hosts(start):
    gate = await start(shop, hosts=["shop.test"])
    await control(gate)
    for host in ("evil.test", "shop.test.evil.test", "127.0.0.1", "xshop.test"):
        visitor = await gate.visitor()
        await visitor.send(f"GET /products HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, fields, _ = await visitor.answer()
        assert (status, fields["gate-decision"]) == (421, ["refuse; reason=host"])
    for spelled in ("SHOP.test", "shop.test.", "shop.test:8080"):
        visitor = await gate.visitor()
        await visitor.send(f"GET /products HTTP/1.1\r\nHost: {spelled}\r\n\r\n".encode())
        assert (await visitor.answer())[0] == 200
    gate.origin.heads.clear()
    await control(gate)
