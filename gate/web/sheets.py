"""The line page as most visitors get it: all is filled in beforehand but what one visitor's place changes."""

import math
from collections.abc import Callable
from functools import lru_cache
from html import escape

from gate.core.credentials import Ticket
from gate.core.instants import format_instant
from gate.core.line import AWAY
from gate.core.snapshot import RoomView
from gate.core.visit import Visit
from gate.core.wait import Outlook, ask_again, span_of
from gate.web import sentences
from gate.web.documents import text
from gate.web.languages import Language
from gate.web.links import again_link, way_back
from gate.web.standing import Standing, hundredths
from gate.web.status import draw_of
from gate.web.templates import Prepared

_HIDDEN = b" hidden"
_NEVER = b"86400"
_SENT = b'<p class="word" id="sent">%b</p>'
# what a request fills in, as it comes in the page
_GAPS = (
    "title",
    "refresh",
    "facts",
    "nocard",
    "place",
    "wait",
    "more",
    "again",
    "keep",
)  # in this order


class Return:
    """Where a visitor goes on: to ``back``, a path; and by which link of ours, when what was sent must be sent again.

    ``kept``: what was sent is on the page. A page that loads again by itself would lose it.
    """

    __slots__ = ("again", "back", "door", "refresh", "resend", "sent")

    def __init__(self, visit: Visit, room: str, back: str | None = None, kept: str | None = None) -> None:
        resend = back is not None or visit.method not in ("GET", "HEAD")
        back = back or way_back(visit)
        again = again_link(room, back) if resend else ""
        self.back = text(back)
        self.again = text(again)
        self.refresh: bytes | None = text(f";url={again}") if again else b""
        self.resend = b'<input type="hidden" name="resend" value="1">' if resend else b""
        self.door, self.sent = b"pass", "lost" if resend else ""
        if kept is not None:
            self.again, self.refresh, self.door, self.sent = b"", None, b"form", "kept"
            self.resend = b'<input type="hidden" name="form" id="kept" value="%b">' % text(kept)


class Sheet:
    """The page of one room in one language, for one state and its cause, before or after the draw. ``invited``: for those
    whom no draw touches."""

    def __init__(
        self, prepared: Prepared, language: Language, view: RoomView, state: str, detail: str, *, invited: bool
    ) -> None:
        self.form_of = language.form_of
        self._lined = state == "line"
        self._early = state == "early"
        self._placed = state in ("early", "line", "hold", "store")
        self._keeps = state != "over"
        self._thousands = lru_cache(maxsize=1024)(lambda n: text(language.number(n) + language.group))
        self._head = language.text(sentences.HEADS[state])
        self._title = text(self._head)
        self._titled = b") %b" % self._title
        self._wait = text(language.text(sentences.WAIT)).partition(b"{span}")
        self._say = language.span
        self._spans: dict[tuple[int, int, int], bytes] = {}
        self._places = [_place(form) for form in language.ahead_forms]
        self._next = b"<strong>%b</strong>" % text(language.ahead(0))
        self._left, self._few, self._here, self._drawn, self._keep, numbered = (
            text(language.text(sentence))
            for sentence in (
                sentences.LEFT,
                sentences.FEW,
                sentences.HERE,
                sentences.DRAWN,
                sentences.KEEP,
                sentences.NUMBERED,
            )
        )
        before, _, self._numbered = numbered.partition(b"{n}")
        self._number_kept = b"%b<br>%b" % (self._keep, before)
        self._sent = {"": b"", **{each: _SENT % text(language.text(said)) for each, said in sentences.SENT.items()}}
        self._facts = b'data-room="%b" data-state="%b" ' % (view.name.encode(), state.encode())
        draw, self._invited = None if invited else draw_of(view), invited
        self._page = prepared.with_filled(
            {
                "head": self._title,
                "why": text(detail),
                "word": text(view.message),
                "noword": b"" if view.message else _HIDDEN,
                "room": view.name.encode(),
                "notime": b"" if self._early else _HIDDEN,
                "datetime": format_instant(view.opens).encode(),
                "opens": text(language.moment(view.opens)),
                "nodraw": b"" if draw else _HIDDEN,
                "promise": draw["commitment"].encode() if draw else b"",
                "proof": draw["seed"].encode() if draw and draw["seed"] else b"",
            }
        )

    def to(self, to: Return) -> "Leaf":
        """The page for those who go on to one place."""
        gaps = {"sent": self._sent[to.sent], "back": to.back, "door": to.door, "resend": to.resend}
        return Leaf(self, self._page.with_filled(gaps).around(_GAPS), to)

    def fill(self, pieces: list[bytes], seen: Standing, seconds: int, view: RoomView, now: float, to: Return) -> bytes:
        """See :meth:`Leaf.fill`. ``pieces`` are what stands around the gaps. What is not so is left out, not only hidden: there
        are browsers without style sheets."""
        _, number, turn, epoch, ahead, wait, retry_after, _ = seen
        if not self._placed:
            ahead = None
        card = self._placed and (ahead is not None or self._early)
        people = self.number(ahead) if ahead else b""
        facts = b'%bdata-number="%d" data-turn="%d" data-epoch="%d" data-ahead="%b" data-in="%.2f" data-again="%b"' % (
            self._facts,
            number or 0,
            turn or 0,
            epoch or 0,
            b"" if ahead is None else b"%d" % ahead,
            retry_after,
            to.again,
        )
        if self._early:
            facts += b' data-until="%d"' % max(0, math.ceil(view.opens - now))
        parts = pieces.copy()  # of every two, the first is one of them, and the other a gap
        parts[1::2] = (
            b"(" + people + self._titled if self._lined and ahead else self._title,
            _NEVER if to.refresh is None else b"%d%b" % (seconds if seconds > 1 else 2, to.refresh),
            facts,
            b"" if card else _HIDDEN,
            b"" if ahead is None else self._place(ahead, people),
            self.span(*wait) if card and self._lined and wait is not None else b"",
            self._more(seen, view) if card and (view.draw or view.left is not None) else b"",
            b"%d" % seconds,
            self._kept(number) if epoch and self._keeps else b"",
        )
        return b"".join(parts)

    def format_for(self, form: int, pieces: list[bytes], to: Return) -> bytes | None:
        """What :meth:`fill` says to those in line of whom nothing is told but their place and wait, as a format; ``form``: the
        plural form of how many are ahead. None: it is one that has no number in it."""
        before, after = self._places[form]
        if after is None or to.refresh is None:
            return None
        again = b'data-again="%b"' % to.again
        texts = self._titled, to.refresh, self._facts, again, before, after, self._number_kept, self._numbered
        title, refresh, facts, again, before, after, kept, end = map(_literal, texts)
        parts = [_literal(piece) for piece in pieces]
        parts[1::2] = (
            b"(%b" + title,
            b"%d" + refresh,
            facts + b'data-number="%d" data-turn="%d" data-epoch="%d" data-ahead="%d" data-in="%.2f" ' + again,
            b"",
            before + b"%b" + after,
            b"%b",
            b"",
            b"%d",
            kept + b"%b" + end,
        )
        return b"".join(parts)

    def _more(self, seen: Standing, view: RoomView) -> bytes:
        """What was drawn, and whether what is left will do."""
        parts = []
        if self._early and view.draw and not self._invited:
            parts.append(self._here.replace(b"{n}", self.number(max(view.waiting, seen.number or 0))))
        elif seen.turn and seen.number and seen.number <= view.drawn:
            parts.append(self._drawn.replace(b"{n}", self.number(seen.turn)).replace(b"{m}", self.number(view.drawn)))
        if view.left is not None and seen.ahead is not None:
            parts.append(self._few if seen.ahead > view.left else self._left.replace(b"{n}", self.number(view.left)))
        return b" ".join(parts)

    def _kept(self, number: int | None) -> bytes:
        """That the place is kept, and its number, where it has one."""
        return self._number_kept + self.number(number) + self._numbered if number else self._keep

    def number(self, n: int) -> bytes:
        return b"%b%03d" % (self._thousands(n // 1000), n % 1000) if n >= 1000 else b"%d" % n

    def _place(self, ahead: int, number: bytes) -> bytes:
        if not ahead:
            return self._next
        before, after = self._places[self.form_of(ahead)]
        return before if after is None else before + number + after

    def span(self, low: int, high: int) -> bytes:
        """The wait in words. They are the same for all within a minute, or an hour where the wait is long."""
        unit = 3600 if high > 5400 else 60
        within = unit, low // unit, -high // unit
        said = self._spans.get(within)
        if said is None:
            before, _, after = self._wait
            said = self._spans[within] = before + text(self._say(span_of(low, high))) + after
        return said


class Leaf:
    """A sheet for those who go on to one place: made once for newcomers who ask for the same."""

    __slots__ = ("pieces", "sheet", "to")

    def __init__(self, sheet: Sheet, pieces: list[bytes], to: Return) -> None:
        self.sheet = sheet
        self.pieces = pieces
        self.to = to

    def fill(self, seen: Standing, seconds: int, view: RoomView, now: float) -> bytes:
        """The page of one who stands as ``seen`` in ``view`` at ``now`` (Unix time, seconds), and comes back in ``seconds``."""
        return self.sheet.fill(self.pieces, seen, seconds, view, now, self.to)


class Row:
    """Newcomers in a line of which nothing is told but their place and wait, with an ordinary number of this epoch that is not
    called yet: nearly all of them. They get what :meth:`Leaf.fill` makes of their :func:`~gate.web.standing.standing`, but only
    numbers differ."""

    __slots__ = ("_draw", "_epoch", "_formats", "_leaf", "_outlook", "_serving")

    def __init__(self, leaf: Leaf, view: RoomView, outlook: Outlook, draw: Callable[[], float]) -> None:
        self._leaf = leaf
        self._epoch, self._serving = view.epoch, view.serving
        self._outlook = outlook
        self._draw = draw
        self._formats: dict[int, bytes | None] = {}

    def fill(self, ticket: Ticket) -> tuple[int, bytes] | None:
        """When to come back, in seconds, and the page. None: this ticket is another one."""
        _, epoch, number, _, _ = ticket
        if epoch != self._epoch or not self._serving < number < AWAY:
            return None
        ahead = number - 1 - self._serving + self._outlook.at_door
        low, high = self._outlook.wait(ahead)
        sheet = self._leaf.sheet
        form = sheet.form_of(ahead)
        page = self._formats.get(form) or self._format(form)
        if not ahead or low is None or high is None or page is None:
            return None
        again = hundredths(ask_again(low, self._draw()))
        seconds = math.ceil(again)
        people, wait = sheet.number(ahead), sheet.span(round(low), round(high))
        gaps = people, seconds, number, number, epoch, ahead, again, people, wait, seconds, sheet.number(number)
        return seconds, page % gaps

    def _format(self, form: int) -> bytes | None:
        page = self._formats[form] = self._leaf.sheet.format_for(form, self._leaf.pieces, self._leaf.to)
        return page


def _literal(text: bytes) -> bytes:
    """As it stands in a format."""
    return text.replace(b"%", b"%%")


def _place(form: str) -> tuple[bytes, bytes | None]:
    """A plural form of the sentence about those ahead, before and after its number; not all forms have one."""
    before, number, after = escape(form).partition("{n}")
    return (f"{before}<b>".encode(), f"</b>{after}".encode()) if number else (f"<strong>{before}</strong>".encode(), None)
