"""The languages of the pages: gettext catalogues, plural forms, direction of writing, and which one a visitor gets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError, negotiate_locale
from babel.dates import format_date, format_time
from markupsafe import Markup

from gate.core.wait import Span

DOMAIN = "messages"


class UnknownLanguage(ValueError):
    """There is no catalogue for a configured language. The text says which there are."""


@dataclass(frozen=True)
class Language:
    """One language the pages speak. ``tag`` is a BCP 47 tag like ``de`` or ``pt-BR``."""

    tag: str
    translations: GNUTranslations

    @cached_property
    def locale(self) -> Locale:
        return Locale.parse(self.tag, sep="-")

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return self.locale.text_direction

    @cached_property
    def group(self) -> str:
        """What stands between thousands."""
        return str(self.locale.number_symbols["latn"]["group"])

    @cached_property
    def plural(self) -> str:
        """The catalogue's rule as an expression over ``n`` that is valid C and JavaScript."""
        header = self.translations.info()["plural-forms"]
        return header.partition("plural=")[2].strip().rstrip(";").strip()

    @cached_property
    def forms(self) -> int:
        """How many plural forms there are."""
        return int(self.translations.info()["plural-forms"].partition("nplurals=")[2].partition(";")[0])

    @cached_property
    def ahead_forms(self) -> list[str]:
        """Every plural form of the sentence that says how many people are ahead."""
        return self.all_forms("{n} person is ahead of you", "{n} people are ahead of you")

    def text(self, text: str) -> str:
        return self.translations.gettext(text)

    def ngettext(self, one: str, many: str, n: int) -> str:
        return self.translations.ngettext(one, many, n)

    def number(self, n: int) -> str:
        return f"{n:,}".replace(",", self.group)

    def all_forms(self, one: str, many: str) -> list[str]:
        """Every plural form of a message, in the catalogue's order, for the page's script."""
        found = [""] * self.forms
        for n in (*range(200), 1000, 1_000_000):
            found[self.form_of(n)] = self.ngettext(one, many, n)
        return found

    @cached_property
    def form_of(self) -> Callable[[int], int]:
        """Which plural form a number takes."""
        rule: Callable[[int], int] = self.translations.plural  # type: ignore[attr-defined]  # set by GNUTranslations._parse
        return rule

    # ---- the two sentences that hold numbers

    def ahead(self, n: int) -> str:
        """``1,234 people are ahead of you``."""
        if n == 0:
            return self.translations.gettext("You are next")
        return self.ngettext("{n} person is ahead of you", "{n} people are ahead of you", n).replace("{n}", self.number(n))

    def span(self, span: Span) -> str:
        """``5 to 8 minutes``, ``less than a minute``."""
        high = span.high
        if span.hours:
            if not span.low:
                text = self.ngettext("less than an hour", "less than {high} hours", high)
            else:
                text = self.ngettext("{low} to {high} hour", "{low} to {high} hours", high)
        elif not span.low:
            text = self.ngettext("less than a minute", "less than {high} minutes", high)
        else:
            text = self.ngettext("{low} to {high} minute", "{low} to {high} minutes", high)
        return text.replace("{low}", str(span.low)).replace("{high}", str(high))

    def moment(self, seconds: float) -> str:
        """``Friday, November 27, 2026, 11:00 AM UTC`` for Unix time in seconds; a script says it in the visitor's own zone."""
        at = datetime.fromtimestamp(seconds, UTC)
        return f"{format_date(at, 'full', self.locale)}, {format_time(at, 'short', UTC, self.locale)} UTC"

    def script_words(self) -> dict[str, object]:
        """The plural forms above for the page's script."""
        return {
            "next": self.translations.gettext("You are next"),
            "ahead": _once(self.ahead_forms),
            "underMin": _once(self.all_forms("less than a minute", "less than {high} minutes")),
            "min": _once(self.all_forms("{low} to {high} minute", "{low} to {high} minutes")),
            "underHour": _once(self.all_forms("less than an hour", "less than {high} hours")),
            "hour": _once(self.all_forms("{low} to {high} hour", "{low} to {high} hours")),
        }


def _once(forms: list[str]) -> list[str | int]:
    """With the place of the first one for each form that comes again."""
    return [form if forms.index(form) == place else forms.index(form) for place, form in enumerate(forms)]


def script_json(value: object) -> Markup:
    """JSON for a script, safe inside ``<script>``: it cannot end the element or start a comment in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(safe)  # noqa: S704 - escaped for a script just now


class Languages:
    """The languages in force, the default first. Raises :class:`UnknownLanguage`."""

    def __init__(self, tags: Sequence[str], folder: Path) -> None:
        self.known = {tag: _read(tag, folder) for tag in tags or ("en",)}
        self.default = next(iter(self.known.values()))
        self._pick = lru_cache(maxsize=1024)(self._negotiate)

    def pick(self, preferred: tuple[str, ...]) -> Language:
        """The best language for a visitor; ``preferred`` is best first, as in Accept-Language."""
        return self._pick(preferred[:8]) if preferred else self.default

    def _negotiate(self, preferred: tuple[str, ...]) -> Language:
        for tag in preferred:
            found = negotiate_locale([tag], list(self.known), sep="-")
            if found is None:  # de-CH speaks de, and so does de-1996-x-anything
                found = negotiate_locale([tag.partition("-")[0]], list(self.known), sep="-")
            if found is not None:
                return next(self.known[tag] for tag in self.known if tag.lower() == found.lower())
        return self.default


def available(folder: Path) -> list[str]:
    """Tags of the languages that have a compiled catalogue."""
    return sorted(path.parts[-3].replace("_", "-") for path in folder.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))


def _read(tag: str, folder: Path) -> Language:
    path = folder / tag.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"
    try:
        Locale.parse(tag, sep="-")
        with path.open("rb") as file:
            return Language(tag, GNUTranslations(file))
    except (OSError, UnknownLocaleError, ValueError) as error:
        raise UnknownLanguage(f"no pages in {tag!r}; there are {', '.join(available(folder))}") from error
