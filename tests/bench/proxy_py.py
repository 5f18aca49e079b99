"""proxy.py's reverse proxy, with one route. proxy.py loads this file as a module of its own; the origin comes in ``ORIGIN``."""

import os

from proxy.http.server import ReverseProxyBasePlugin


class Everything(ReverseProxyBasePlugin):
    def routes(self) -> list[tuple[str, list[bytes]]]:
        # proxy.py asks for the URL of the route, not for the one of the request, so each path is named
        return [(rf"{path}$", [f"{os.environ['ORIGIN']}{path}".encode()]) for path in ("/checkout/1k", "/checkout/100k")]
