"""The brand's colour, made readable on light and on dark pages (WCAG 2.2, success criterion 1.4.3)."""

from dataclasses import dataclass

LIGHT = "#f3f5f8"  # the grounds of static/page.css on which the accent is hardest to read
DARK = "#1c1f24"
AA = 4.5
_STEP = 0.04


@dataclass(frozen=True, slots=True)
class Accent:
    """``colour`` is readable on the page, ``on`` is readable on ``colour``."""

    colour: str
    on: str


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1 (WCAG 2.2, definitions)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def accent_on(colour: str, ground: str) -> Accent:
    """The nearest mixture of ``colour`` with black or white that can be read on ``ground``."""
    towards = "#000000" if luminance(ground) > 0.5 else "#ffffff"
    mixed, share = colour, 0.0
    while contrast(mixed, ground) < AA and share < 1:
        share = min(1.0, share + _STEP)
        mixed = _mix(colour, towards, share)
    return Accent(mixed, max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, mixed)))


def _mix(one: str, other: str, share: float) -> str:
    channels = (round(int(one[i : i + 2], 16) * (1 - share) + int(other[i : i + 2], 16) * share) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in channels)
