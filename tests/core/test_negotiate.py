"""HTML or JSON, and which languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.negotiate import form, languages

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "more", "expected"),
    [
        (CHROME, {}, "html"),
        (CHROME, {"sec-fetch-mode": "navigate"}, "html"),
        (CHROME, {"sec-fetch-mode": "cors"}, "html"),  # named html counts more than who asks
        (None, {}, "html"),
        ("*/*", {}, "html"),  # curl
        ("*/*", {"sec-fetch-mode": "navigate"}, "html"),
        ("*/*", {"sec-fetch-mode": "cors"}, "json"),  # fetch()
        ("*/*", {"x-requested-with": "XMLHttpRequest"}, "json"),
        (None, {"sec-fetch-mode": "same-origin"}, "json"),
        ("application/json", {}, "json"),
        ("application/json, text/plain, */*", {}, "json"),  # axios
        ("application/problem+json", {}, "json"),
        ("text/html, application/json", {}, "html"),
        ("application/json, text/html", {}, "json"),
        ("application/json;q=0.5, text/html;q=0.9", {}, "html"),
        ("application/json;q=0.9, text/html;q=0.5", {}, "json"),
        ("text/html;q=0, */*", {}, "json"),
        ("application/json;q=0, */*", {}, "html"),
        ("text/*", {}, "html"),
        ("application/*", {}, "json"),
        ("application/*, text/html;q=0.5", {}, "json"),
        ("image/avif,image/webp,*/*;q=0.8", {"sec-fetch-mode": "no-cors"}, "json"),
        ("TEXT/HTML", {}, "html"),
        ("text/html; charset=utf-8 ; q=0.3, application/json; q=0.2", {}, "html"),
        ("application/json;q=1.0001, text/html;q=0.1", {}, "html"),  # not a quality: not acceptable
        ("application/json;q=x, text/html;q=0.1", {}, "html"),
        (",,;,q=1,*", {}, "html"),
    ],
)
def test_form(accept, more, expected):
    headers = tuple((name.encode(), value.encode()) for name, value in more.items())
    if accept is not None:
        headers += ((b"accept", accept.encode()),)
    assert form(headers) == expected


def test_several_accept_fields_are_one_list():
    assert form(((b"accept", b"text/html;q=0.5"), (b"accept", b"application/json"))) == "json"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", ("de-at", "de", "en")),
        ("en;q=0.1, ar", ("ar", "en")),
        ("en, de;q=0", ("en",)),
        ("*", ()),
        ("", ()),
        ("../../etc/passwd, en", ("en",)),
        ("zh-Hans-CN", ("zh-hans-cn",)),
        ("en, EN;q=0.5", ("en",)),
    ],
)
def test_languages(value, expected):
    assert languages(((b"accept-language", value.encode()),)) == expected


def test_a_long_list_is_cut():
    value = ",".join(f"a{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(500))
    assert len(languages(((b"accept-language", value.encode()),))) == 10


@given(st.binary(max_size=200))
def test_any_bytes_are_negotiated(value):
    assert form(((b"accept", value),)) in ("html", "json")
    languages(((b"accept-language", value),))
