import pytest

from gate.core.pattern import Pattern


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
        ("POST cart", "write '/cart'"),
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
