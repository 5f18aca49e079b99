"""A CDN's own published list of networks: fetched, checked and compared."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from gate.edges import BadList, Cdn, Network, NetworkList, networks

TIMEOUT = 15.0  # seconds per address
LARGEST = 16 << 20  # bytes; Amazon's list is about 2 MiB
MOST = 5000  # networks


class NotFetched(OSError):
    """The CDN's list could not be fetched."""


def fetch(cdn: Cdn, today: str, urls: tuple[str, ...] | None = None) -> NetworkList:
    """The list that ``cdn`` publishes now. ``today`` is an ISO date. Raises :class:`NotFetched` and :class:`BadList`."""
    urls = urls or cdn.urls
    if not urls:
        raise NotFetched(f"{cdn.name} publishes no list: {cdn.note}")
    found = [network for url in urls for network in networks(parse(cdn.name, _get(url)))]
    if not cdn.least <= len(set(found)) <= MOST:
        raise BadList(f"{len(set(found))} networks; {cdn.name} has {cdn.least} to {MOST}: this is not its list")
    merged = networks([str(network) for network in found])
    return NetworkList(cdn.name, today, " and ".join(urls), "", merged)


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects only where they stay with the CDN: a list of whom to trust comes from nobody else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            raise NotFetched(f"redirected to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://[::1]:", "http://localhost:")):
        raise NotFetched(f"{url}: only https, or http on this machine")
    request = urllib.request.Request(url, headers={"User-Agent": "floodgate"})  # noqa: S310 - checked above
    try:
        with urllib.request.build_opener(_SameHost).open(request, timeout=TIMEOUT) as response:
            body: bytes = response.read(LARGEST + 1)
    except (urllib.error.URLError, OSError) as error:
        raise NotFetched(f"{url}: {error}") from error
    if len(body) > LARGEST:
        raise BadList(f"{url}: more than {LARGEST} bytes")
    return body.decode("utf-8", "replace")


def parse(name: str, text: str) -> list[str]:
    """The networks in the CDN's own format. Raises :class:`BadList`."""
    if name == "cloudflare":
        return text.split()
    try:
        data: Any = json.loads(text)
        if name == "fastly":
            return [*data["addresses"], *data["ipv6_addresses"]]
        found = [item["ip_prefix"] for item in data["prefixes"] if item["service"] == "CLOUDFRONT"]
        return found + [item["ipv6_prefix"] for item in data["ipv6_prefixes"] if item["service"] == "CLOUDFRONT"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadList(f"not the format in which {name} publishes its networks ({error!r})") from error


def difference(before: tuple[Network, ...], after: tuple[Network, ...]) -> tuple[list[Network], list[Network]]:
    """What came, and what went."""
    old, new = set(before), set(after)
    return [network for network in after if network not in old], [network for network in before if network not in new]
