"""Every page and document that the gate answers by itself, for people and for programs.

All HTML is rendered at start, per language; a request fills gaps (:mod:`gate.web.templates`). Each page has a JSON twin with
the same facts: the place in line as plain ``application/json``, everything that is refused as a problem document (RFC 9457).
"""

import math
import random
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote

from gate.core.answer import Answer, Fields
from gate.core.decision import Decision
from gate.core.settings import Canned, Settings
from gate.core.snapshot import RoomView
from gate.core.visit import Form, Visit
from gate.core.wait import span_of
from gate.core.words import Reason
from gate.web import sentences
from gate.web.artwork import Artwork
from gate.web.documents import JSON, PRIVATE, problem, retry_field, text, to_json
from gate.web.languages import Language
from gate.web.links import way_back
from gate.web.standing import JITTER, standing


class Pages:
    """All pages of one configuration. Raises :class:`gate.web.artwork.PageError` when they cannot be made from it."""

    def __init__(self, settings: Settings, *, draw: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._art = Artwork(settings)
        self._draw = draw

    def language(self, visit: Visit) -> Language:
        """The one this visitor reads."""
        return self._art.languages.pick(visit.languages)

    # ------------------------------------------------------------------ the room

    def waiting(self, visit: Visit, decision: Decision, view: RoomView, now: float, *, back: str | None = None) -> Answer:
        """In line: place, wait and when to ask again. ``back`` (a checked path) says where to go on, if not here."""
        del now
        facts = standing(decision, view, self.language(visit), self._draw())
        return self._room_page(visit, view, facts, status=self._settings.rooms[view.name].status, back=back)

    def closed(self, visit: Visit, decision: Decision, view: RoomView, *, back: str | None = None) -> Answer:
        """The room takes nobody; the page looks again by itself."""
        facts = standing(decision, view, self.language(visit), self._draw())
        if visit.accepts == "json":
            return problem(503, facts["detail"], retry_after=facts["retry_after"], reason=decision.reason, more=facts)
        return self._room_page(visit, view, facts, status=503, back=back)

    def entered(self, visit: Visit, decision: Decision, room: str, now: float) -> Answer:
        """200, for programs: the visitor may go on. ``expires_in`` is null where no pass is needed."""
        carried = decision.granted or decision.held
        document = {
            "state": "entered",
            "reason": decision.reason.value,
            "room": room,
            "expires_in": max(0, int(carried.expires - now)) if carried is not None else None,
            "detail": self.language(visit).text(sentences.ENTERED),
        }
        return Answer(200, (*PRIVATE, *JSON), to_json(document))

    def _room_page(self, visit: Visit, view: RoomView, facts: dict[str, Any], *, status: int, back: str | None) -> Answer:
        seconds = max(1, math.ceil(facts["retry_after"]))
        fields = (*PRIVATE, retry_field(seconds))
        if visit.accepts == "json":
            return Answer(status, (*fields, *JSON), to_json(facts))
        language = self.language(visit)
        prepared = self._art.of(language, "waiting")
        resend = back is not None or visit.method not in ("GET", "HEAD")
        back = back or way_back(visit)
        again = f"/__gate/rooms/{view.name}/ticket?to={quote(back, safe='')}" if resend else ""
        state, ahead, number = facts["state"], facts["ahead"], facts["number"]
        head = language.text(sentences.HEADS[state])
        card = ahead is not None and state in ("line", "hold", "store")
        wait = ""
        if card and state == "line" and facts["wait"]:
            span = language.span(span_of(facts["wait"]["low"], facts["wait"]["high"]))
            wait = language.text(sentences.WAIT).replace("{span}", span)
        title = f"({language.number(ahead)}) {head}" if state == "line" and ahead else head
        attributes = {
            "room": view.name,
            "state": state,
            "number": number or 0,
            "epoch": facts["epoch"] or 0,
            "ahead": "" if ahead is None else ahead,
            "in": facts["retry_after"],
            "again": again,
        }
        body = prepared.fill(
            {
                "title": text(title),
                "refresh": text(f"{max(2, seconds)};url={again}" if again else str(max(2, seconds))),
                "facts": " ".join(f'data-{name}="{escape(str(value))}"' for name, value in attributes.items()).encode(),
                "head": text(head),
                "why": text(facts["detail"]),
                "nocard": b"" if card else b" hidden",
                "place": _place(language, ahead or 0),
                "wait": text(wait),
                "word": text(view.message),
                "noword": b"" if view.message else b" hidden",
                "nokeep": b"" if facts["epoch"] else b" hidden",
                "nonumber": b"" if number else b" hidden",
                "number": language.number(number or 0).encode(),
                "again": b"%d" % seconds,
                "room": view.name.encode(),
                "back": text(back),
                "resend": b'<input type="hidden" name="resend" value="1">' if resend else b"",
            }
        )
        return Answer(status, (*fields, *_html_fields(language), (b"content-security-policy", prepared.policy)), body)

    # ------------------------------------------------------------------ the shop

    def fallback(self, visit: Visit, decision: Decision, now: float) -> Answer:
        """The static page while the shop is down: the configured file as it is, or the gate's own."""
        del now
        fallback = self._settings.fallback
        wanted = fallback.retry_after if decision.retry_after is None else decision.retry_after
        seconds = math.ceil(wanted * (1 + JITTER * self._draw()))
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
        wanted = self._settings.fallback.retry_after if decision.retry_after is None else decision.retry_after
        seconds = max(1, math.ceil(wanted * (1 + JITTER * self._draw())))
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
        """A refusal. ``detail`` goes into the problem document only: a page repeats nothing that a visitor sent."""
        words = sentences.REFUSED.get(status) or sentences.REFUSED[503 if status >= 500 else 400]
        return self._notice(
            wants,
            languages,
            status,
            words,
            (sentences.HOME, "/"),
            detail=detail,
            retry_after=retry_after,
            reason=reason,
            fields=fields,
        )

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
        go: tuple[str, str],
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
                "go": text(language.text(go[0])),
                "back": text(go[1]),
            }
        )
        if retry_after is not None:
            fields = (*fields, retry_field(retry_after))
        html = (*PRIVATE, *fields, *_html_fields(language), (b"content-security-policy", prepared.policy))
        return Answer(status, html, body)


def _place(language: Language, ahead: int) -> bytes:
    sentence, number = escape(language.ahead(ahead)), language.number(ahead)
    if number in sentence:
        return sentence.replace(number, f"<b>{number}</b>", 1).encode()
    return f"<strong>{sentence}</strong>".encode()


def _html_fields(language: Language) -> Fields:
    return ((b"content-type", b"text/html; charset=utf-8"), (b"content-language", language.tag.encode()))
