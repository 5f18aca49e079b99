"""Signed JSON as a JWT of one kind: JWS compact serialization (RFC 7515), HS256, and one header for each key.

Libraries read tokens of many kinds, and have to look into the header before they know which key to take, and how. Ours has one
form, so a header that is not byte for byte what we write names no key of ours, and nothing in a token is looked at before its
signature is right. It takes a third of the time, too. Tests hold it to joserfc in both directions.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class NotOurs(Exception):
    """Not a token that one of the keys has signed."""


class Signer:
    """``keys`` by their id, the newest last: it signs, and all of them verify."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        # by the header as it stands in a token; a copy is cheaper than to begin with the key each time
        self._macs = {_header(id_): hmac.new(key, digestmod="sha256") for id_, key in keys.items()}
        self._newest = list(self._macs)[-1]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token that says ``claims``."""
        signed = f"{self._newest}.{base64url(_to_json(claims).encode())}"
        return f"{signed}.{self._signature(self._newest, signed)}"

    def read(self, token: str) -> Any:
        """What ``token`` says. Raises :class:`NotOurs`."""
        signed, _, signature = token.rpartition(".")
        header, _, body = signed.partition(".")
        if header not in self._macs or not token.isascii():  # compare_digest takes no other text
            raise NotOurs
        if not hmac.compare_digest(self._signature(header, signed), signature):  # as text, of which there is one spelling
            raise NotOurs
        return json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode())

    def _signature(self, header: str, signed: str) -> str:
        mac = self._macs[header].copy()
        mac.update(signed.encode())
        return base64url(mac.digest())


def _header(id_: str) -> str:
    return base64url(_to_json({"alg": "HS256", "typ": "JWT", "kid": id_}).encode())


def base64url(data: bytes) -> str:
    """RFC 4648 section 5, without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
