"""Forms whose sender has to wait, on the wire: read to the end, bounded, under the deadlines of every body."""

import asyncio
import html
import re
import time

import pytest

from gate.core.kept import LARGEST
from gate.web.forms import unseal
from tests.wire.rig import Gate, eventually

FORM = "Content-Type: application/x-www-form-urlencoded"
BODY = b"sku=mug&qty=2"


def post(body: bytes, *fields: str, length: int | None = None) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (FORM, *fields))
    size = len(body) if length is None else length
    return f"POST /checkout/add?x=1 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {size}\r\n{lines}\r\n".encode() + body


def kept(gate: Gate, page: bytes) -> dict[str, str]:
    found = re.search(rb'id="kept" value="([^"]+)"', page)
    assert found is not None
    form = unseal(gate.engine.keyring, html.unescape(found[1].decode()), "checkout", time.time())
    assert form.to == "/checkout/add?x=1"
    return dict(form.fields)


async def test_a_form_is_read_and_kept_and_the_connection_stays(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(post(BODY) + post(b"sku=cup"))  # the second one waits for its turn
    status, fields, page = await visitor.answer()
    assert (status, fields["gate-decision"]) == (503, ["wait; room=checkout; reason=rate"])
    assert kept(gate, page) == {"sku": "mug", "qty": "2"}
    assert kept(gate, (await visitor.answer())[2]) == {"sku": "cup"}
    assert (await visitor.get("/"))[0] == 200
    assert gate.origin.heads[-1].startswith(b"GET / ")
    assert len(gate.origin.heads) == 1, "nothing of a form that waits reaches the shop"


async def test_it_may_come_byte_by_byte(start):
    gate = await start()
    visitor = await gate.visitor()
    request = post(BODY)
    for at in range(0, len(request), 40):
        await visitor.send(request[at : at + 40])
        await asyncio.sleep(0.01)
    assert kept(gate, (await visitor.answer())[2]) == {"sku": "mug", "qty": "2"}


async def test_who_asks_first_is_told_to_go_on_once_it_is_decided(start):
    gate = await start()
    visitor = await gate.visitor()
    gate.line.gate.clear()
    await visitor.send(post(b"", "Expect: 100-continue", length=len(BODY)))
    await eventually(lambda: gate.line.gate._waiters, "the decision is asked for")
    assert not gate.line.last
    gate.line.gate.set()
    assert (await visitor.answer())[0] == 100
    await visitor.send(BODY)
    assert kept(gate, (await visitor.answer())[2])


@pytest.mark.parametrize("size", [LARGEST + 1, 60_000])
async def test_a_larger_one_is_not_read_and_not_asked_for(start, size):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(post(b"", "Expect: 100-continue", length=size))
    status, _, page = await visitor.answer()
    assert status == 503
    assert b"could not be kept" in page
    assert b'id="kept"' not in page


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Content-Length: 2\r\nContent-Type: application/json", b"{}"),
        (f"Transfer-Encoding: chunked\r\n{FORM}", b"d\r\nsku=mug&qty=2\r\n0\r\n\r\n"),
        (f"Content-Length: 13\r\n{FORM}\r\nSec-Fetch-Site: cross-site", BODY),
        (f"Content-Length: 13\r\n{FORM}\r\nAccept: application/json", BODY),
    ],
    ids=["json", "chunked", "another site's", "a program's"],
)
async def test_other_bodies_are_not_kept(start, fields, body):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(f"POST /checkout/add HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n\r\n".encode() + body)
    status, _, page = await visitor.answer()
    assert status == 503
    assert b'id="kept"' not in page


async def test_one_that_stops_half_way_ends(start, monkeypatch):
    monkeypatch.setattr("gate.wire.receiving.BODY_WINDOW", 0.3)
    gate = await start(visitors={"body_rate": 1000})
    visitor = await gate.visitor()
    await visitor.send(post(b"sku=m", length=13))
    status, fields, _ = await visitor.answer()
    assert (status, fields["connection"]) == (408, ["close"])


async def test_a_visitor_who_leaves_half_way_leaves_nothing(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(post(b"sku=m", length=13))
    await eventually(lambda: gate.line.last == 1)
    visitor.reset()
    await eventually(lambda: not gate.door.connections, "the connection is gone")
    assert (await (await gate.visitor()).get("/"))[0] == 200


async def test_with_a_pass_it_goes_to_the_shop_as_it_is(start):
    gate = await start()
    visitor = await gate.visitor()
    await visitor.send(post(BODY, gate.pass_cookie()))
    assert (await visitor.answer())[0] == 200
    assert gate.origin.heads[0].startswith(b"POST /checkout/add?x=1 ")
