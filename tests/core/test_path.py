"""Paths: what is refused, what is read, and that no spelling slips by (tests/corpora/paths)."""

from itertools import product
from pathlib import Path as File
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.path import MAX_TARGET, MalformedTarget, canonical, split
from gate.core.pattern import Pattern

CORPUS = File(__file__).parent.parent / "corpora" / "paths"
GUARD = Pattern.parse("/checkout/**")
EXACT = Pattern.parse("/checkout")


def cases(name="*"):
    for file in sorted(CORPUS.glob(f"{name}.txt")):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                target, _, expected = line.partition(" -> ")
                yield pytest.param(target.encode("latin-1"), expected, id=f"{file.stem}:{target}")


def matches(pattern, target):
    path, _ = canonical(target)
    return any(pattern.matches("GET", reading) for reading in path.readings)


@pytest.mark.parametrize(("target", "expected"), list(cases()))
def test_corpus(target, expected):
    if expected == "refuse":
        with pytest.raises(MalformedTarget):
            canonical(target)
        return
    path, _ = canonical(target)
    assert " ".join(reading.replace(" ", "\\s") for reading in path.readings) == expected


@pytest.mark.parametrize(("target", "expected"), list(cases("checkout_spellings")))
def test_no_spelling_slips_by_the_guard(target, expected):
    assert matches(GUARD, target)


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("/shop/*/buy", b"/shop/a%2fb/buy"),
        ("/shop/*/buy", b"/shop/a%252fb/buy"),
        ("/shop/*/buy", b"/shop/.../buy"),
        ("/shop/*/buy", b"/shop/%20/buy"),
        ("/shop/*/buy", b"/shop//buy"),
        ("/shop/*/buy", b"/shop/;x/buy"),
        ("/shop/*/buy", b"/shop/a%3fb/buy"),
        ("/shop/*/buy", b"/shop/a%ef%bc%8fb/buy"),
        ("/*-checkout", b"/a;b-checkout"),
        ("/cart/add", b"/cart/add%3f/x"),
        ("/caf\u00e9", b"/caf%e9"),
        ("/stra\u00dfe", b"/STRASSE"),
    ],
)
def test_a_pattern_matches_the_reading_that_some_origin_takes(pattern, target):
    assert matches(Pattern.parse(pattern), target)


def test_bytes_are_forwarded_as_they_came_but_for_leading_slashes():
    path, query = canonical(b"//a%2Fb/%63;x=1//?q=%zz&..|\\")
    assert path.raw == b"/a%2Fb/%63;x=1//"
    assert query == b"q=%zz&..|\\"


def test_no_query_and_an_empty_one():
    assert canonical(b"/a")[1] == b""
    assert canonical(b"/a?")[1] == b""
    assert canonical(b"/a??x")[1] == b"?x"


def test_length_limit():
    canonical(b"/" + b"a" * (MAX_TARGET - 1))
    with pytest.raises(MalformedTarget, match="longer"):
        canonical(b"/" + b"a" * MAX_TARGET)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a?b", (None, b"/a?b")),
        (b"http://shop.example/a?b", (b"shop.example", b"/a?b")),
        (b"HTTPS://shop.example:8443", (b"shop.example:8443", b"/")),
        (b"http://shop.example?q", (b"shop.example", b"/?q")),
    ],
)
def test_split(target, expected):
    assert split(target) == expected


@pytest.mark.parametrize(
    "target", [b"*", b"shop.example:443", b"ftp://x/", b"http:///x", b"http://me@shop.example/", b"javascript:x"]
)
def test_forms_that_are_refused(target):
    with pytest.raises(MalformedTarget):
        split(target)


# --------------------------------------------------------------------------- what origins may do


def origins():
    """Ways in which real servers turn a raw path into the resource they serve."""
    for decodes, cut, slashes, case, dots in product((0, 1, 2), *[(False, True)] * 4):

        def read(path, decodes=decodes, cut=cut, slashes=slashes, case=case, dots=dots):
            if cut:
                path = "/".join(segment.partition(";")[0] for segment in path.split("/"))
            for _ in range(decodes):
                path = unquote(path, errors="replace")
            if case:
                path = path.lower()
            if slashes:
                while "//" in path:
                    path = path.replace("//", "/")
            if dots:
                kept = []
                for segment in path.split("/")[1:]:
                    if segment == "..":
                        kept[-1:] = []
                    elif segment != ".":
                        kept.append(segment.rstrip(". "))
                path = "/" + "/".join(kept)
            return path

        yield read


ORIGINS = list(origins())
PIECES = [
    "/",
    "//",
    "checkout",
    "CHECKOUT",
    "static",
    "..",
    ".",
    ";",
    ";a",
    "%2e",
    "%2f",
    "%252f",
    "%252e",
    "%3b",
    "%63heckout",
]
PIECES += ["%20", "%00", "%5c", "%", "%3f", "%23", "%ef%bc%8f", "\\", "?", "é", "%C3%A9", "%c0%ae"]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_whatever_an_origin_takes_for_checkout_is_refused_or_guarded(pieces):
    target = ("/" + "".join(pieces)).encode("latin-1", "replace")
    try:
        path, _ = canonical(target)
    except MalformedTarget:
        return
    raw = path.raw.decode()
    if any(read(raw) == "/checkout" for read in ORIGINS):
        assert any(EXACT.matches("GET", reading) for reading in path.readings), path


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_a_path_or_a_refusal(data):
    try:
        path, query = canonical(b"/" + data)
    except MalformedTarget:
        return
    assert path.raw.startswith(b"/")
    assert not path.raw.startswith(b"//")
    assert all(reading.startswith("/") for reading in path.readings)
    rest = (b"/" + data).partition(b"?")
    assert path.raw.lstrip(b"/") == rest[0].lstrip(b"/")
    assert query == rest[2]
    assert canonical(path.raw)[0] == path  # canonical is canonical


def test_a_long_strange_path_is_read_in_bounded_time():
    """No spelling costs more than a few hundred microseconds per kibibyte: the readings are at most 48, whatever the path."""
    path, _ = canonical(b"/" + b"%252f;a.%20" * 700)
    assert len(path.readings) <= 48
