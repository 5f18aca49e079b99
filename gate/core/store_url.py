"""Where the store is: the forms that ``store`` takes, and what is wrong with one that is none of them."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

FORMS = (
    "redis://host:6379/0, rediss://host:6380/0, unix:///run/valkey.sock, "
    "redis+sentinel://host1:26379,host2:26379/mymaster/0 or redis+cluster://host1:6379,host2:6379"
)
LONGEST_SOCKET = 107  # bytes of a path; the kernel takes 108 with the closing zero (unix(7))
_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379, "redis+cluster": 6379}


class BadStoreUrl(ValueError):
    """Not a store; the text says what to write instead, and shows no password."""


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """``hosts``: with their ports; none for a unix socket. ``master``: the name that the sentinels know."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    user: str | None = None
    password: str | None = None
    master: str = ""
    database: int = 0


def read_store_url(url: str) -> StoreUrl:
    """Raises :class:`BadStoreUrl`."""
    shown = mask_url(url)
    scheme = url.partition("://")[0]
    if scheme == "unix":
        host, path = urlsplit(url).netloc.rpartition("@")[2], unquote(urlsplit(url).path)
        if len(path.encode()) > LONGEST_SOCKET:
            raise BadStoreUrl(f"{shown!r} is {len(path.encode())} bytes long; a socket's path has {LONGEST_SOCKET} at most")
        if host or not path.startswith("/"):
            raise BadStoreUrl(f"{shown!r} is not a store (a socket has an absolute path); write {FORMS}")
        return StoreUrl(scheme)
    if scheme not in _PORTS:
        raise BadStoreUrl(f"{shown!r} is not a store; write {FORMS}")
    split = urlsplit(url)
    credentials, _, places = split.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts = tuple(_host(place, _PORTS[scheme], shown) for place in places.split(","))
    parts = split.path.strip("/").split("/")
    found = StoreUrl(scheme, hosts, unquote(user) or None, unquote(password) or None)
    match scheme:
        case "redis+sentinel":
            if not parts[0] or len(parts) > 2 or not all(part.isdigit() for part in parts[1:]):
                raise BadStoreUrl(f"{shown!r} names no master; write redis+sentinel://host1:26379,host2:26379/mymaster/0")
            return StoreUrl(scheme, hosts, found.user, found.password, parts[0], int(parts[1]) if len(parts) == 2 else 0)
        case "redis+cluster":
            if parts not in ([""], ["0"]):
                raise BadStoreUrl(f"{shown!r} names a database; a cluster has one: write redis+cluster://host1:6379,host2:6379")
        case _:
            if len(hosts) > 1 or len(parts) > 1 or not (parts[0] == "" or parts[0].isdigit()):
                raise BadStoreUrl(f"{shown!r} is not a store; write {FORMS}")
    return found


def _host(place: str, port: int, shown: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", place)
    if found is None or int(found[2] or port) > 65535:
        raise BadStoreUrl(f"{shown!r} is not a store: a host in it is not host:port; write {FORMS}")
    return found[1].strip("[]"), int(found[2] or port)


def mask_url(url: str) -> str:
    """The URL with its password as ``***``, also where the password has a slash in it that should have been escaped."""
    scheme, _, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}:***@{host}" if at and colon else url
