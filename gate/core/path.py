"""Canonical paths: decide and forward the same bytes, and let no spelling slip by a rule (RFC 3986 section 6).

A path is forwarded exactly as it came (only leading slashes are collapsed), and matched on what any origin might take it
for. What an origin might read as *another place* is refused: dot segments in every encoding, backslashes, control
characters, malformed and overlong percent-encodings. What is merely loose spelling becomes one or more *readings*; a guard
that matches any of them guards the path.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from urllib.parse import unquote_to_bytes

MAX_TARGET = 64 << 10  # bytes; what `visitors.max_target` may be at most


class MalformedTarget(ValueError):
    """The request target can be read in two ways, or in none. The text says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Path:
    """``raw`` is what the origin will get; ``widened`` is what rules are matched on.

    The widened form is percent-decoded twice, has ``;params`` cut, slashes collapsed, letters case-folded and trailing
    dots and spaces cut, so that whatever an origin might take for ``/checkout`` is matched as ``/checkout``.

    ``others`` are the further readings of an unusual spelling: ``/shop/a%2Fb/buy`` is ``/shop/a/b/buy`` to one origin and,
    to another that decodes segment by segment, one product in ``/shop/*/buy``.
    """

    raw: bytes
    widened: str
    others: tuple[str, ...] = ()

    @property
    def readings(self) -> tuple[str, ...]:
        return (self.widened, *self.others)


_PLAIN = re.compile(rb"/(?:SEG(?:/SEG)*/?)?".replace(b"SEG", rb"\.?[a-z0-9_~!$&'()*+,=:@-]+(?:\.+[a-z0-9_~!$&'()*+,=:@-]+)*"))
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CUT = re.compile(r"[;?#]")
_END = re.compile(r"[?#]")
_SLASHES = re.compile(r"/{2,}")
_LONG = 256  # bytes
_INNER_SLASH = "\u2215"  # stands in a reading for an encoded slash that does not separate


def fold(text: str) -> str:
    """Case and compatibility forms away: ``CHECKOUT`` and full-width letters match ``checkout``. Patterns use it too."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold()


def split(target: bytes) -> tuple[bytes | None, bytes]:
    """Authority and origin-form of a request target (RFC 9112 section 3.2). The authority is None in origin-form.

    Raises :class:`MalformedTarget` for the asterisk and authority forms, other schemes and user information.
    """
    if target.startswith(b"/"):
        return None, target
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        raise MalformedTarget("the request target is not a path")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?"), rest.find(b"#")) if at >= 0), default=len(rest))
    authority, origin_form = rest[:end], rest[end:]
    if not authority or b"@" in authority:
        raise MalformedTarget("the authority in the request target is empty or carries user information")
    return authority, origin_form if origin_form.startswith(b"/") else b"/" + origin_form


def canonical(target: bytes) -> tuple[Path, bytes]:
    """The path and the query (without ``?``) of an origin-form target. Raises :class:`MalformedTarget`."""
    if len(target) > MAX_TARGET:
        raise MalformedTarget(f"the request target is longer than {MAX_TARGET} bytes")
    if not target.startswith(b"/"):
        raise MalformedTarget("the path does not start with /")
    if not _VISIBLE.fullmatch(target):
        raise MalformedTarget("the request target holds a space, a control character or a byte beyond ASCII")
    if b"#" in target:
        raise MalformedTarget("the request target holds a fragment")
    path, _, query = target.partition(b"?")
    if path.startswith(b"//"):
        # "//host/checkout" is a path to us and an authority with path /checkout to a URL parser: leave one reading.
        path = b"/" + path.lstrip(b"/")
    if _PLAIN.fullmatch(path):
        return Path(path, path.decode()), query
    return _read(path) if len(path) > _LONG else _remembered(path), query


def _read(path: bytes) -> Path:
    if b"\\" in path:
        raise MalformedTarget("the path holds a backslash")
    once = _decode(path)
    segments = [_decode(segment) for segment in path.split(b"/")]
    found: dict[str, None] = {}
    for flat, parts in (
        (_decode(once, lenient=True), [_decode(segment, lenient=True) for segment in segments]),
        (once, segments),
    ):
        separated = _text(flat)
        kept = "/".join(_text(part).replace("/", _INNER_SLASH) for part in parts)
        # An origin that rewrites may take an encoded "?" for the end of the path (CVE-2024-38474 in Apache httpd).
        for text in (separated, kept, _END.split(separated, maxsplit=1)[0]):
            for cut, trim, collapse in product((True, False), repeat=3):
                found[_widen(text, cut=cut, trim=trim, collapse=collapse)] = None
    first, *others = found
    return Path(path, first, tuple(others))


_remembered = lru_cache(maxsize=1024)(_read)  # short ones only: at most some 10 MB, whatever is asked for


def _decode(path: bytes, *, lenient: bool = False) -> bytes:
    """One round of percent-decoding. A stray ``%`` is an error in what was sent, and only text in what was decoded."""
    if not lenient and _BAD_PERCENT.search(path):
        raise MalformedTarget("the path holds a % that is not followed by two hexadecimal digits")
    decoded = unquote_to_bytes(path)
    if _OVERLONG.search(decoded):
        raise MalformedTarget("the path holds an overlong UTF-8 sequence")
    return decoded


def _text(decoded: bytes) -> str:
    """Decoded bytes as text, checked for what moves a path elsewhere."""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")  # older shops link in Latin-1
    text = fold(text)
    if "\\" in text:
        raise MalformedTarget("the path holds a backslash")
    if _CONTROL.search(text):
        raise MalformedTarget("the path holds a control character")
    for segment in text.split("/"):
        if segment.partition(";")[0].strip(" ") in (".", ".."):
            raise MalformedTarget("the path holds a dot segment")
    return text


def _widen(text: str, *, cut: bool, trim: bool, collapse: bool) -> str:
    """One reading: ``cut`` what ``;``, ``?`` and ``#`` begin in a segment, ``trim`` dots and spaces, ``collapse`` slashes."""
    segments = text.split("/")
    if cut:
        segments = [_CUT.split(segment, maxsplit=1)[0] for segment in segments]
    if trim:
        segments = [segment.rstrip(". ") for segment in segments]
    widened = "/".join(segments)
    return (_SLASHES.sub("/", widened) if collapse else widened) or "/"
