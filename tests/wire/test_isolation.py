"""Nothing of one visitor reaches another: unique marks through every part of a message, with people leaving at any time."""

import asyncio
import contextlib
import os
import random
import re
import secrets

from tests.wire.rig import read_body, values_of

REQUESTS = 100_000 if os.environ.get("FULL") else 3_000
VISITORS = 24
MARK = re.compile(rb"mark-[0-9a-f]{16}")


async def echoing(side):
    """Says all marks of a request back, in the head and in the body, in one of the ways in which answers come."""
    rng = random.Random(side.number)
    while head := await side.head():
        body = await read_body(side, head)
        marks = b" ".join(sorted(set(MARK.findall(head + body))))
        text = marks * rng.choice([1, 1, 50, 3000])
        fields = b"X-Marks: %b\r\nSet-Cookie: last=%b\r\n" % (marks, marks[:21])
        way = rng.randrange(10)
        if way == 0:  # dies half way
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(text) + 9, fields, text))
            return
        if way == 1:
            await side.send(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (fields, text))
            return
        if way == 2:  # too late to be anybody's
            await side.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b%b" % (len(text), fields, text, b"mark-" + b"0" * 16)
            )
            continue
        if way == 3:
            await asyncio.sleep(0.005)
        if way < 6:
            await side.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (fields, len(text), text)
            )
        else:
            await side.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(text), fields, text))


def request(rng, mark, cookie):
    target = rng.choice(["/", "/a", f"/{mark}", f"/a?q={mark}", "/checkout/pay", "/checkout/pay"])
    fields = [f"X-Mark: {mark}"]
    if rng.random() < 0.7:
        fields.append(f"Cookie: session={mark}; {cookie}" if rng.random() < 0.8 else f"Cookie: session={mark}")
    line = "Host: shop.test\r\n" + "".join(f"{field}\r\n" for field in fields)
    way = rng.randrange(4)
    if way == 0:
        return f"POST {target} HTTP/1.1\r\n{line}Content-Length: {len(mark)}\r\n\r\n{mark}".encode()
    if way == 1:
        return f"POST {target} HTTP/1.1\r\n{line}Transfer-Encoding: chunked\r\n\r\n15\r\n{mark}\r\n0\r\n\r\n".encode()
    return f"GET {target} HTTP/1.1\r\n{line}\r\n".encode()


async def test_no_mark_ever_at_another_visitor(start):
    gate = await start(echoing, origin={"connections": 12})
    left, seen, strange = REQUESTS, 0, []

    async def visit(number):
        nonlocal left, seen
        rng = random.Random(number)
        cookie = gate.pass_cookie(id=secrets.token_urlsafe(16))[8:]
        while left > 0:
            visitor = await gate.visitor()
            gate.visitors.remove(visitor)
            mine = set()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                for _ in range(rng.randrange(1, 20)):
                    marks = [f"mark-{secrets.token_hex(8)}" for _ in range(rng.choice([1, 1, 1, 4]))]  # some in a row
                    mine |= {mark.encode() for mark in marks}
                    left -= len(marks)
                    await visitor.send(b"".join(request(rng, mark, cookie) for mark in marks))
                    if rng.random() < 0.1:
                        break
                    for mark in marks:
                        _, fields, body = await visitor.answer()
                        found = set(MARK.findall(body + repr(fields).encode()))
                        seen += bool(found)
                        if not found <= {mark.encode()}:
                            strange.append((mark, found))
            if rng.random() < 0.5:
                visitor.reset()
            visitor.close()
            with contextlib.suppress(ConnectionError):
                await visitor.writer.wait_closed()

    await asyncio.gather(*(visit(number) for number in range(VISITORS)))
    assert strange == []
    assert seen > REQUESTS / 3  # the control: marks do come back
    for head in gate.origin.heads:  # nor at the origin: one request, one mark
        assert len(set(MARK.findall(head))) <= 1
        assert not any(b"gate_pass" in value for value in values_of(head, b"cookie"))
