import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.pattern import METHODS, Pattern


@pytest.mark.parametrize(
    ("pattern", "method", "path", "matches"),
    [
        ("/checkout/**", "GET", "/checkout", True),
        ("/checkout/**", "GET", "/checkout/", True),
        ("/checkout/**", "POST", "/checkout/a/b/c", True),
        ("/checkout/**", "GET", "/checkouts", False),
        ("/checkout/**", "GET", "/a/checkout", False),
        ("/checkout", "GET", "/checkout/", True),
        ("/checkout", "GET", "/checkout/pay", False),
        ("/**", "GET", "/", True),
        ("/**", "GET", "/x/y", True),
        ("/", "GET", "/", True),
        ("/", "GET", "/x", False),
        ("/p/*/reviews", "GET", "/p/7/reviews", True),
        ("/p/*/reviews", "GET", "/p/7/8/reviews", False),
        ("/img/*.png", "GET", "/img/a.png", True),
        ("/img/*.png", "GET", "/img/a.jpg", False),
        ("/a/**/z", "GET", "/a/z", True),
        ("/a/**/z", "GET", "/a/b/c/z", True),
        ("/a/**/z", "GET", "/a/b/c/zz", False),
        ("/Checkout", "GET", "/checkout", True),
        ("POST /cart/add", "POST", "/cart/add", True),
        ("POST /cart/add", "GET", "/cart/add", False),
        ("POST /cart/add", "post", "/cart/add", True),
        ("GET /x", "HEAD", "/x", True),
        ("/a.b", "GET", "/axb", False),
        ("/line", "GET", "/line\nbreak", False),
        ("/any/**", "GET", "/any/line\nbreak", True),
    ],
)
def test_matching(pattern, method, path, matches):
    assert Pattern.parse(pattern).matches(method, path) is matches


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("checkout", "write '/checkout'"),
        ("post /cart", "in capitals"),
        ("POST cart", "write 'POST /cart'"),
        ("post cart", "write it in capitals, like 'POST /cart'"),
        ("https://shop.example/cart", "write '/cart'"),
        ("PSOT /cart", "did you mean 'POST /cart'"),
        ("DELTE cart", "did you mean 'DELETE /cart'"),
        ("XYZZYX /cart", "or only '/cart'"),
        ("TRACE /cart", "delete it"),
        ("/cart /checkout", r"an entry of its own: \[/cart, /checkout\]"),
        ("/a?b=1", "without query"),
        ("/a%2Fb", "plain path"),
        ("/a;b", "plain path"),
        ("/a**", "stands alone"),
        ("/**b", "stands alone"),
        ("/a//b", "with one /"),
        ("", "starts with /"),
    ],
)
def test_mistakes_are_told(text, says):
    with pytest.raises(ValueError, match=says):
        Pattern.parse(text)


def test_it_prints_as_written():
    assert str(Pattern.parse("POST /cart/add")) == "POST /cart/add"


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("/**", "/"),
        ("/a/**", "/a"),
        ("/a/**", "/A/b/**/c"),
        ("/a/*", "/a/b*"),
        ("/*/b", "/a/b"),
        ("/a*", "/ab*c"),
        ("/a/**/z", "/a/b/**/z"),
        ("/a", "POST /a"),
        ("GET /a", "HEAD /a"),
    ],
)
def test_the_wider_pattern_covers_the_narrower_one_and_not_the_other_way_round(wide, narrow):
    assert Pattern.parse(wide).covers(Pattern.parse(narrow))
    assert not Pattern.parse(narrow).covers(Pattern.parse(wide))


SEGMENTS = st.sampled_from(["a", "b", "*", "a*", "*b", "a*b", "**"])
PATTERNS = st.lists(SEGMENTS, max_size=4).map(lambda segments: Pattern.parse("/" + "/".join(segments)))
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "c"]), max_size=6).map(lambda segments: "/" + "/".join(segments))


@given(PATTERNS, PATTERNS, st.lists(PATHS, min_size=20, max_size=20))
def test_what_is_covered_is_matched(wide, narrow, paths):
    if wide.covers(narrow):
        assert all(wide.matches("GET", path) for path in paths if narrow.matches("GET", path))


def test_the_methods_are_those_that_the_parser_reads():
    def reads(method):
        try:
            httptools.HttpRequestParser(None).feed_data(f"{method} / HTTP/1.1\r\n\r\n".encode())
        except httptools.HttpParserInvalidMethodError:
            return False
        return True

    assert all(reads(method) for method in METHODS)
    assert not reads("PSOT")
