"""Every page and document that the gate answers by itself, for people and for programs.

All HTML is rendered at start, per language; a request fills gaps (:mod:`gate.web.templates`). Each page has a JSON twin with
the same facts: the place in line as plain ``application/json``, everything that is refused as a problem document (RFC 9457).
"""

import math
import random
from collections.abc import Callable
from typing import Any

from gate.core.answer import Answer, Fields
from gate.core.credentials import Ticket
from gate.core.decision import Decision
from gate.core.settings import Canned, Settings
from gate.core.snapshot import RoomView
from gate.core.visit import Form, Visit
from gate.core.wait import outlook_of
from gate.core.words import Reason
from gate.web import sentences
from gate.web.artwork import Artwork
from gate.web.documents import JSON, PRIVATE, problem, retry_field, text, to_json, whole
from gate.web.forms import KeptForm
from gate.web.languages import Language
from gate.web.links import way_back
from gate.web.sheets import Leaf, Return, Row, Sheet
from gate.web.standing import DUE, JITTER, Standing, document, standing, why

_WAY = b'<p><a class="button" href="%b">%b</a></p>'
SHEETS = 512  # kept: languages times rooms times states, until an operator's new word for the line makes others


class Pages:
    """All pages of one configuration. Raises :class:`gate.web.artwork.PageError` when they cannot be made from it."""

    def __init__(self, settings: Settings, *, draw: Callable[[], float] = random.random) -> None:
        self.settings = settings
        self._art = Artwork(settings)
        self.draw = draw
        self._sheets: dict[tuple[str | bytes | int, ...], Sheet] = {}

    def language(self, visit: Visit) -> Language:
        """The one this visitor reads."""
        return self._art.languages.pick(visit.languages)

    # ------------------------------------------------------------------ the room

    def waiting(
        self,
        visit: Visit,
        decision: Decision,
        view: RoomView,
        now: float,
        *,
        back: str | None = None,
        kept: str | None = None,
    ) -> Answer:
        """In line: place, wait and when to ask again. ``back`` (a checked path) says where to go on, if not here. ``kept``: a
        form that the visitor has sent (:func:`gate.web.forms.seal`)."""
        seen = standing(decision, view, self.draw())
        status = self.settings.rooms[view.name].status
        if visit.accepts == "json":
            body = to_json(self.document(self.language(visit), seen, decision, view))
            return Answer(status, (*PRIVATE, retry_field(seen.retry_after), *JSON), body)
        return self._room_page(visit, decision, view, seen, now, status=status, back=back, kept=kept)

    def welcome(self, visit: Visit, decision: Decision, view: RoomView, now: float, to: Return) -> "Welcome":
        """What :meth:`waiting` answers to all who wait like ``visit``, but for the place; good as long as ``view`` is."""
        return Welcome(self, visit, decision, view, now, to)

    def closed(self, visit: Visit, decision: Decision, view: RoomView, *, back: str | None = None) -> Answer:
        """The room takes nobody; the page looks again by itself."""
        seen = standing(decision, view, self.draw())
        if visit.accepts == "json":
            more = self.document(self.language(visit), seen, decision, view)
            return problem(503, more["detail"], retry_after=seen.retry_after, reason=decision.reason, more=more)
        return self._room_page(visit, decision, view, seen, 0.0, status=503, back=back)

    def document(self, language: Language, seen: Standing, decision: Decision, view: RoomView) -> dict[str, Any]:
        """The same facts for programs."""
        heading, detail = language.text(sentences.HEADS[seen.state]), _detail(language, seen, decision.reason, view)
        return document(seen, decision, view, self.settings.rooms[view.name].grace, heading, detail)

    def said(self, state: str, view: RoomView) -> dict[str, tuple[str, str]]:
        """Heading and sentence of a state that everybody shares, in every language."""
        why_ = why(state, Reason.LINE, placed=True, draw=_will_draw(view))
        known = self._art.languages.known.items()
        return {tag: (language.text(sentences.HEADS[state]), language.text(why_)) for tag, language in known}

    def entered(self, visit: Visit, decision: Decision, room: str, now: float) -> Answer:
        """200, for programs: the visitor may go on. ``expires_in`` is null where no pass is needed."""
        carried = decision.granted or decision.held
        facts = {
            "state": "entered",
            "reason": decision.reason.value,
            "room": room,
            "expires_in": max(0, int(carried.expires - now)) if carried is not None else None,
            "detail": self.language(visit).text(sentences.ENTERED),
        }
        return Answer(200, (*PRIVATE, *JSON), to_json(facts))

    def _room_page(
        self,
        visit: Visit,
        decision: Decision,
        view: RoomView,
        seen: Standing,
        now: float,
        *,
        status: int,
        back: str | None,
        kept: str | None = None,
    ) -> Answer:
        language = self.language(visit)
        to = Return(visit, view.name, back, kept)
        leaf = self.sheet(language, view, seen, decision.reason).to(to)
        body = leaf.fill(seen, whole(seen.retry_after), view, now)
        return Answer(status, (*PRIVATE, retry_field(seen.retry_after), *self.line_fields(language)), body)

    def sheet(self, language: Language, view: RoomView, seen: Standing, reason: Reason) -> Sheet:
        """The line page for everybody who stands in this state for this cause."""
        detail = _detail(language, seen, reason, view)
        key = language.tag, view.name, view.message, seen.state, detail, view.seed, view.drawn, seen.invited
        sheet = self._sheets.get(key)
        if sheet is None:
            if len(self._sheets) >= SHEETS:
                self._sheets.clear()
            prepared = self._art.of(language, "waiting")
            sheet = self._sheets[key] = Sheet(prepared, language, view, seen.state, detail, invited=seen.invited)
        return sheet

    def line_fields(self, language: Language) -> Fields:
        """What the line page says of itself."""
        return (*_html_fields(language), (b"content-security-policy", self._art.of(language, "waiting").policy))

    # ------------------------------------------------------------------ the shop

    def fallback(self, visit: Visit, decision: Decision, now: float) -> Answer:
        """The static page while the shop is down: the configured file as it is, or the gate's own."""
        del now
        fallback = self.settings.fallback
        wanted = fallback.retry_after if decision.retry_after is None else decision.retry_after
        seconds = math.ceil(wanted * (1 + JITTER * self.draw()))
        language = self.language(visit)
        if visit.accepts == "json":
            detail = fallback.message or language.text(sentences.WHYS["fallback"])
            more = {"state": "fallback", "phone": fallback.phone} if fallback.phone else {"state": "fallback"}
            return problem(503, detail, retry_after=seconds, reason=decision.reason, more=more)
        fields: Fields = (*PRIVATE, retry_field(seconds))
        if self._art.fallback_file is not None:
            return Answer(503, (*fields, (b"content-type", b"text/html; charset=utf-8")), self._art.fallback_file)
        prepared = self._art.of(language, "fallback")
        sent = visit.method not in ("GET", "HEAD")
        body = prepared.fill(
            {
                "again": b"%d" % seconds,
                "back": text(way_back(visit)),
                "post": b' data-post="1"' if sent else b"",
            }
        )
        return Answer(503, (*fields, *_html_fields(language), (b"content-security-policy", prepared.policy)), body)

    def canned(self, canned: Canned, visit: Visit) -> Answer:
        """A route's own fallback, as the configuration gives it."""
        del visit
        given = self._art.canned(canned)
        names = {field[0] for field in given.headers}
        return Answer(given.status, (*(field for field in PRIVATE if field[0] not in names), *given.headers), given.body)

    # ------------------------------------------------------------------ refused

    def limited(self, visit: Visit, decision: Decision) -> Answer:
        """429: this client asked too often."""
        seconds = max(1, math.ceil(decision.retry_after or 1))
        head, sentence = sentences.LIMITED
        more: Fields = ()
        if decision.quota is not None and decision.limit is not None:
            # draft-ietf-httpapi-ratelimit-headers
            name, quota = f'"{decision.limit.by}"', decision.quota
            more = (
                (b"ratelimit-policy", f"{name};q={quota.limit};w={quota.window}".encode()),
                (b"ratelimit", f"{name};r={quota.remaining};t={seconds}".encode()),
            )
        return self._notice(
            visit.accepts,
            visit.languages,
            429,
            (head, sentence),
            (sentences.TRY_AGAIN, way_back(visit)),
            retry_after=seconds,
            reason=decision.reason,
            fields=more,
        )

    def shed(self, visit: Visit, decision: Decision) -> Answer:
        """503: this part is put aside so that what matters stays fast."""
        wanted = self.settings.fallback.retry_after if decision.retry_after is None else decision.retry_after
        seconds = max(1, math.ceil(wanted * (1 + JITTER * self.draw())))
        go = (sentences.TRY_AGAIN, way_back(visit))
        return self._notice(
            visit.accepts, visit.languages, 503, sentences.SHED, go, retry_after=seconds, reason=decision.reason
        )

    def problem(
        self,
        status: int,
        detail: str,
        wants: Form = "html",
        languages: tuple[str, ...] = (),
        *,
        retry_after: float | None = None,
        reason: Reason | None = None,
        fields: Fields = (),
    ) -> Answer:
        """A refusal. ``detail`` goes into the problem document only: a page repeats nothing that a visitor sent. Where there is
        no shop under the name that was asked for, there is no way to it."""
        words = sentences.REFUSED.get(status) or sentences.REFUSED[503 if status >= 500 else 400]
        return self._notice(
            wants,
            languages,
            status,
            words,
            None if status == 421 else (sentences.HOME, "/"),
            detail=detail,
            retry_after=retry_after,
            reason=reason,
            fields=fields,
        )

    def invited(self, visit: Visit, on: str) -> Answer:
        """A click from the place: whoever looks at links for others does not press it. ``on``: our own address."""
        return self._notice("html", visit.languages, 200, sentences.INVITED, (sentences.GO_ON, on))

    def uninvited(self, visit: Visit, why_: str, status: int, back: str) -> Answer:
        """The invitation does not count, and why; ``back``, a checked path, leads into the line that everybody stands in."""
        words, language = (sentences.UNINVITED[why_], sentences.AS_EVERYBODY), self.language(visit)
        detail = ". ".join(language.text(each) for each in words)
        return self._notice(visit.accepts, visit.languages, status, words, (sentences.JOIN, back), detail=detail)

    def form(self, visit: Visit, kept: KeptForm) -> Answer:
        """200: what was kept, to be sent again with one press."""
        language = self.language(visit)
        prepared = self._art.of(language, "form")
        rows = b"".join(
            b'<dt dir="auto">%b</dt><dd dir="auto">%b</dd>' % (text(name), text(value)) for name, value in kept.shown()
        )
        body = prepared.fill({"to": text(kept.to), "rows": rows, "inputs": kept.inputs()})
        return Answer(200, (*PRIVATE, *_html_fields(language), (b"content-security-policy", prepared.policy)), body)

    def not_resent(self, visit: Visit, status: int, back: str) -> Answer:
        """The form is too old, or somebody else's: it has to be filled in once more."""
        return self._notice(visit.accepts, visit.languages, status, sentences.NOT_RESENT, (sentences.GO_ON, back))

    def kept(self, visit: Visit) -> Answer:
        """202: the address is written down, or was already; the answer does not tell which."""
        if visit.accepts == "json":
            detail = self.language(visit).text(sentences.KEPT[1])
            return Answer(202, (*PRIVATE, *JSON), to_json({"state": "kept", "detail": detail}))
        return self._notice("html", visit.languages, 202, sentences.KEPT, (sentences.HOME, "/"))

    def not_kept(self, visit: Visit) -> Answer:
        """503: the address could not be written to disk."""
        return self._notice(visit.accepts, visit.languages, 503, sentences.NOT_KEPT, (sentences.TRY_AGAIN, "/"), retry_after=60)

    def _notice(
        self,
        wants: Form,
        languages: tuple[str, ...],
        status: int,
        words: tuple[str, str],
        go: tuple[str, str] | None,
        *,
        detail: str = "",
        retry_after: float | None = None,
        reason: Reason | None = None,
        fields: Fields = (),
    ) -> Answer:
        language = self._art.languages.pick(languages)
        sentence = language.text(words[1]).replace("{n}", str(math.ceil(retry_after or 0)))
        if wants == "json":
            return problem(status, detail or sentence, retry_after=retry_after, reason=reason, fields=fields)
        prepared = self._art.of(language, "notice")
        body = prepared.fill(
            {
                "head": text(language.text(words[0])),
                "why": text(sentence),
                "way": b"" if go is None else _WAY % (text(go[1]), text(language.text(go[0]))),
            }
        )
        if retry_after is not None:
            fields = (*fields, retry_field(retry_after))
        html = (*PRIVATE, *fields, *_html_fields(language), (b"content-security-policy", prepared.policy))
        return Answer(status, html, body)


class Welcome:
    """The answer to those who wait in one form, language and room for one reason; their place is filled in."""

    __slots__ = ("_decision", "_language", "_leaves", "_now", "_outlook", "_pages", "_row", "_to", "_view", "fields", "status")

    def __init__(self, pages: Pages, visit: Visit, decision: Decision, view: RoomView, now: float, to: Return) -> None:
        self._pages = pages
        self._language = pages.language(visit)
        self._decision = decision
        self._view = view
        self._now = now
        self._outlook = outlook_of(view)
        self._to = to
        self._leaves: dict[str, Leaf] | None = {} if visit.accepts == "html" else None
        self._row: Row | None = None
        self.status = pages.settings.rooms[view.name].status
        self.fields: Fields = (*PRIVATE, *(JSON if self._leaves is None else pages.line_fields(self._language)))

    def fill(self, ticket: Ticket) -> tuple[int, bytes]:
        """When to come back, in seconds, and the body for the holder of ``ticket``."""
        if self._row is not None and (filled := self._row.fill(ticket)) is not None:
            return filled
        seen = standing(self._decision, self._view, self._pages.draw(), ticket, self._outlook)
        seconds = whole(seen.retry_after)
        if self._leaves is None:
            return seconds, to_json(self._pages.document(self._language, seen, self._decision, self._view))
        leaf = self._leaves.get(seen.state)
        if leaf is None:
            leaf = self._pages.sheet(self._language, self._view, seen, self._decision.reason).to(self._to)
            self._leaves[seen.state] = leaf
            if seen.state == "line" and is_plain(self._decision, self._view):
                self._row = Row(leaf, self._view, self._outlook, self._pages.draw)
        return seconds, leaf.fill(seen, seconds, self._view, self._now)


def is_plain(decision: Decision, view: RoomView) -> bool:
    """Is nothing told to those in line but their place, the wait and when to come back?"""
    return decision.reason not in DUE and view.left is None and not view.draw and not view.drawn


def _will_draw(view: RoomView) -> bool:
    """A room is drawn once: who waits for a second opening must not be told that there is a draw."""
    return view.draw and not view.drawn


def _detail(language: Language, seen: Standing, reason: Reason, view: RoomView) -> str:
    placed, draw = seen.epoch is not None, _will_draw(view)
    return language.text(why(seen.state, reason, placed=placed, draw=draw, invited=seen.invited))


def _html_fields(language: Language) -> Fields:
    return ((b"content-type", b"text/html; charset=utf-8"), (b"content-language", language.tag.encode()))
