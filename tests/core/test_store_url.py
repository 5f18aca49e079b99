"""Store URLs: every form, and what is said of one that is none."""

import pytest

from gate.core.store_url import LONGEST_SOCKET, BadStoreUrl, StoreUrl, read_store_url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://shop.test", StoreUrl("redis", (("shop.test", 6379),))),
        ("rediss://me:a%40b@[::1]:7000/3?ssl_cert_reqs=none", StoreUrl("rediss", (("::1", 7000),), "me", "a@b")),
        ("unix:///run/valkey.sock?db=2", StoreUrl("unix")),
        ("redis+sentinel://:pw@a,b:7/m", StoreUrl("redis+sentinel", (("a", 26379), ("b", 7)), None, "pw", "m")),
        ("redis+sentinel://a/m/4", StoreUrl("redis+sentinel", (("a", 26379),), None, None, "m", 4)),
        ("redis+cluster://10.0.0.1,10.0.0.2:7000/0", StoreUrl("redis+cluster", (("10.0.0.1", 6379), ("10.0.0.2", 7000)))),
    ],
)
def test_what_a_url_says(url: str, found: StoreUrl) -> None:
    assert read_store_url(url) == found


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://x", "is not a store"),
        ("redis://me:s3cret@host:port/0", "is not host:port"),
        ("redis://me:s3cret@host:6379/zero", "is not a store"),
        ("redis://me:s3cret@a,b", "is not a store"),
        ("redis://me:/s3cret@host:port", "is not a store"),
        ("redis://", "is not host:port"),
        ("redis+sentinel://me:s3cret@a:1,b:2", "names no master"),
        ("redis+sentinel://me:s3cret@a:1/mymaster/x", "names no master"),
        ("redis+sentinel://me:s3cret@a:99999/m", "is not host:port"),
        ("redis+cluster://me:s3cret@a:1/3", "a cluster has one"),
        ("unix://run/valkey.sock?password=x", "absolute path"),
        ("unix:///" + "x" * LONGEST_SOCKET, "107 at most"),
    ],
)
def test_what_is_none_says_so_and_shows_no_password(url: str, word: str) -> None:
    with pytest.raises(BadStoreUrl, match=word) as error:
        read_store_url(url)
    assert "s3cret" not in str(error.value)
