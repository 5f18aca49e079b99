"""The head's reader, the chunk decoder and the reply's reader on anything hypothesis thinks of."""

import contextlib
import itertools

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.facts import Refusal, read_visit
from gate.wire.framing import BadFraming, Chunked
from gate.wire.parser import Limits, Parser, check_unfinished
from gate.wire.reply import Garbage, read_reply
from tests.wire.rig import make_engine

TOKENS = [
    b"GET", b"POST", b" ", b"  ", b"/", b"/checkout", b"?a=b", b"#", b"\\", b"%2f", b"%", b" HTTP/1.1", b" HTTP/1.0",
    b" HTTP/2.0", b"\r\n", b"\n", b"\r", b"\0", b"\t", b"\x7f", b"\xff", b":", b": ", b"Host", b"Host: shop.test\r\n",
    b"host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: host\r\n", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n",
    b"Expect: 100-continue\r\n", b"Cookie: gate_pass_checkout=a\r\n", b"A_B: c\r\n", b"A: b\r\n", b" folded\r\n",
    b"http://shop.test", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 \r\n", b"Set-Cookie: a=b\r\n",
]  # fmt: skip
BYTES = st.one_of(
    st.lists(st.sampled_from(TOKENS), max_size=14).map(b"".join),
    st.lists(st.sampled_from(TOKENS), max_size=10).map(
        lambda parts: b"GET /a HTTP/1.1\r\nHost: shop.test\r\n" + b"".join(parts)
    ),
    st.binary(max_size=200),
)
ENGINE = make_engine()


SEEN_BEFORE = Parser(Limits())  # by now it remembers parts of many heads


def first_head(data):
    block = data + b"\r\n\r\n"
    return block[: block.index(b"\r\n\r\n") + 4]


def same(one, other):
    return all(
        getattr(one.common, name) == getattr(other.common, name)
        for name in ("plain", "cookies", "length", "host", "others", "expects", "keep_alive", "named", "upgrade", "usual")
    ) and (one.cookie, one.start.line, one.fields()) == (other.cookie, other.start.line, other.fields())


@settings(max_examples=2000, deadline=None)
@given(BYTES)
def test_a_head_is_read_or_refused_and_llhttp_reads_it_too(data):
    block = first_head(data)
    parser = Parser(Limits())
    try:
        head = parser.read(block)
    except Refusal:
        with pytest.raises(Refusal) as refused:
            parser.read(block)  # what was learned on the way changes nothing
        assert refused.value.status in (400, 414, 417, 431, 501, 505)
        for knowing in (parser, SEEN_BEFORE):
            assert knowing.recall(block) is None
            with pytest.raises(Refusal):
                knowing.read(block)
        return
    for again in (parser.read(block), parser.recall(block), SEEN_BEFORE.read(block), SEEN_BEFORE.recall(block)):
        assert again is None or same(again, head)
    seen = []

    class Witness:
        def on_url(self, url):
            seen.append(url)

        def on_header(self, name, value):
            seen.append((name.lower(), value.strip(b" \t")))

    with contextlib.suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(Witness()).feed_data(block)
    url, *fields = seen
    assert url == head.start.target
    assert tuple(fields) == head.fields()
    with contextlib.suppress(Refusal):
        read_visit(
            head.method, head.start.target, head.fields(), "192.0.2.1", False,
            settings=ENGINE.settings, trust=ENGINE.trust, keyring=ENGINE.keyring, now=0.0,
        )  # fmt: skip


def llhttp_takes(block):
    try:
        httptools.HttpRequestParser(object()).feed_data(block)
    except httptools.HttpParserUpgrade:
        return True
    except httptools.HttpParserError:
        return False
    return True


METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"PATCH", b"PRI", b"SOURCE", b"DESCRIBE", b"X"]
LINES = st.builds(
    lambda method, target: b"%b %b HTTP/1.1" % (method, target),
    st.sampled_from(METHODS),
    st.sampled_from([b"/", b"*", b"/a?b", b"http://shop.test/x", b"shop.test:443", b"a"]),
)
RESTS = st.lists(st.sampled_from([token for token in TOKENS if token.endswith(b"\r\n") and len(token) > 2]), max_size=6).map(
    lambda lines: b"\r\nHost: a\r\n" + b"".join(lines) + b"\r\n"
)


@settings(max_examples=3000, deadline=None)
@given(LINES, RESTS, st.binary(max_size=30))
def test_llhttp_looks_at_no_two_parts_of_a_head_at_once(line, rest, cookie):
    """What :meth:`Parser.recall` relies on."""
    assert llhttp_takes(line + rest) == (llhttp_takes(line + b"\r\nHost: a\r\n\r\n") and llhttp_takes(b"GET / HTTP/1.1" + rest))
    if not set(cookie) & ({*range(32), 127} - {9}):
        assert llhttp_takes(line + b"\r\nCookie: " + cookie + rest) == llhttp_takes(line + rest)


@pytest.mark.parametrize(
    "block",
    [
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\nCookie: a\r\n\r\n",  # the empty line before it ends the head
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\r\n\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\rb\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\nb\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\r\n b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nXookie: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nX-Cookie: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\r\nCookie: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\nGET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\r\nCookie: a\r\nHost: shop.test\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n\r\nCookie: a",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n\r\nCookie: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: a\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: shop.test\r\r\nCookie: a\r\n\r\n",
        b"\r\nGET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: shop.test\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_differs_by_a_byte_is_not_recalled(block):
    parser = Parser(Limits())
    for known in (b"", b"Cookie: a\r\n", b"Cookie: a=b\r\n"):
        parser.read(b"GET /a HTTP/1.1\r\nHost: shop.test\r\n" + known + b"\r\n")
        parser.read(b"GET /a HTTP/1.1\r\n" + known + b"Host: shop.test\r\n\r\n")
    assert parser.recall(b"GET /a HTTP/1.1\r\nHost: shop.test\r\nCookie: new\r\n\r\n") is not None
    assert parser.recall(block) is None


@settings(max_examples=500, deadline=None)
@given(BYTES)
def test_an_unfinished_head_is_waited_for_or_refused(data):
    with contextlib.suppress(Refusal):
        check_unfinished(data, Limits(64, 3, 32))


@settings(max_examples=1000, deadline=None)
@given(BYTES, st.sampled_from([b"GET", b"HEAD"]))
def test_a_reply_is_read_or_garbage(data, method):
    block = b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n"
    with contextlib.suppress(Garbage):
        read_reply(block[: block.index(b"\r\n\r\n") + 4], method)


def decode(pieces):
    body = Chunked()
    payload = b""
    for number, piece in enumerate(pieces):
        payload += body.feed(piece)
        if body.done:
            return payload, body.rest + b"".join(pieces[number + 1 :])
    return payload, None


@settings(max_examples=800, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.lists(st.sampled_from([b"", b";a", b';a="b c"'])),
    st.binary(max_size=10),
    st.lists(st.integers(0, 400)),
)
def test_any_split_of_a_chunked_body_decodes_the_same(chunks, extensions, behind, cuts):
    sizes = [*extensions, *[b""] * len(chunks)]
    data = (
        b"".join(b"%x%b\r\n%b\r\n" % (len(c), e, c) for c, e in zip(chunks, sizes, strict=False))
        + b"0\r\nT: x\r\n\r\n"
        + behind
    )
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(pieces) == (b"".join(chunks), behind)


@settings(max_examples=800, deadline=None)
@given(
    st.lists(st.sampled_from([b"3", b"0", b"a", b"\r", b"\n", b"\r\n", b";", b" ", b"abc", b"x"]), max_size=20).map(b"".join),
    st.integers(0, 60),
)
def test_broken_chunks_are_refused_however_they_are_cut(data, cut):
    def verdict(pieces):
        try:
            return decode(pieces)
        except BadFraming:
            return "bad"

    whole, parts = verdict([data]), verdict([data[:cut], data[cut:]])
    assert whole == parts
