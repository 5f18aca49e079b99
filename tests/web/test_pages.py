"""The pages as bytes: small, whole, private, the same facts in both forms, and nothing of a visitor's in them unescaped."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.credentials import Ticket
from gate.core.decision import Decision, Quota
from gate.core.draw import commitment
from gate.core.line import AWAY, group_number, tag_of
from gate.core.path import Path
from gate.core.settings import Limit, Settings
from gate.core.snapshot import GroupView, RoomView
from gate.core.visit import Visit
from gate.core.words import Outcome, Reason, RoomMode
from gate.web import sentences
from gate.web.artwork import Artwork, PageError
from gate.web.links import checked_path, way_back
from gate.web.pages import Pages
from gate.web.sheets import Return

MOST = 14 * 1024
TAGS = ["en", "de", "ar"]
SEED = bytes(range(32))
TICKET = Ticket("checkout", 1, 1432, 0, "x" * 22)
VIEW = RoomView("checkout", amount=120, serving=190, last=2000, waiting=1820, through=180, admitted_per_second=1.7)
ROOMS = {"checkout": {"match": "/checkout/**", "rate": "120/minute"}}
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


def settings(**more) -> Settings:
    return Settings.model_validate({"rooms": ROOMS, "fallback": {"phone": "+1 555 0100"}, **more})


def visit(tag: str = "en", **more) -> Visit:
    given = Visit(
        "GET", "http", "shop.test", Path(b"/checkout/pay", "/checkout/pay"), b"a=1&b=2", (), ip_address("203.0.113.9")
    )
    return replace(given, **{"languages": (tag,), **more})


def every_page(pages: Pages, **more):
    """(name, answer) of all there is, for one visitor."""
    v = visit(**more)
    wait = {
        "rate": (TICKET, VIEW), "active": (TICKET, replace(VIEW, active=50, inside=50)), "line": (TICKET, VIEW),
        "hold": (TICKET, replace(VIEW, mode=RoomMode.HOLD)), "store": (TICKET, VIEW),
    }  # fmt: skip
    for reason, (ticket, view) in wait.items():
        yield (
            f"waiting-{reason}",
            pages.waiting(v, Decision(Outcome.WAIT, Reason(reason), "checkout", ticket=ticket), view, 0.0),
        )
    called = Decision(Outcome.WAIT, Reason.RATE, "checkout", ticket=TICKET, retry_after=0.6)
    yield "called", pages.waiting(v, called, replace(VIEW, serving=1500), 0.0)
    yield "called-active", pages.waiting(v, replace(called, reason=Reason.ACTIVE), replace(VIEW, serving=1500), 0.0)
    yield "no-ticket", pages.waiting(v, Decision(Outcome.WAIT, Reason.STORE, "checkout", retry_after=10.0), VIEW, 0.0)
    yield "closed", pages.closed(v, Decision(Outcome.CLOSED, Reason.ROOM_CLOSED, "checkout"), VIEW)
    early = replace(VIEW, opens=1_795_777_200.0, serving=0, last=1432, waiting=1432)
    not_open = Decision(Outcome.WAIT, Reason.NOT_OPEN, "checkout", ticket=TICKET, retry_after=20.0)
    yield "early", pages.waiting(v, not_open, early, 1_795_770_000.0)
    drawing = replace(early, draw=True, seed=SEED)
    yield "early-draw", pages.waiting(v, not_open, drawing, 1_795_770_000.0)
    drawn = replace(drawing, drawn=1432, serving=1, waiting=1431, left=1_000)
    yield "drawn", pages.waiting(v, Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), drawn, 0.0)
    yield (
        "few-left",
        pages.waiting(v, Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), replace(VIEW, left=3), 0.0),
    )
    for name, reason in (("full", Reason.LINE_FULL), ("sold-out", Reason.SOLD_OUT), ("over", Reason.SALE_OVER)):
        yield name, pages.closed(v, Decision(Outcome.CLOSED, reason, "checkout"), VIEW)
    if v.accepts == "html":
        yield "invited", pages.invited(v, "/__gate/rooms/checkout/invitation?token=x&go=1")
    for cause in sentences.UNINVITED:
        yield f"uninvited-{cause}", pages.uninvited(v, cause, 410, "/checkout")
    yield "fallback", pages.fallback(v, Decision(Outcome.FALLBACK, Reason.ORIGIN_DOWN), 0.0)
    limit = Limit.model_validate({"match": "/search", "rate": "20/minute"})
    quota = Quota(False, 20, 60, 0, 11.2)
    limited = Decision(Outcome.LIMIT, Reason.RATE_LIMIT, retry_after=11.2, limit=limit, quota=quota)
    yield "limited", pages.limited(v, limited)
    yield "shed", pages.shed(v, Decision(Outcome.SHED, Reason.OVERLOAD, retry_after=30.0))
    yield "kept", pages.kept(v)
    yield "not-kept", pages.not_kept(v)
    for status in sentences.REFUSED:
        yield f"refused-{status}", pages.problem(status, "why it was", v.accepts, v.languages)


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages(settings(), draw=lambda: 0.5)


@pytest.fixture(scope="module")
def sale() -> Pages:
    """With an opening and a draw."""
    room = {**ROOMS["checkout"], "order": "random", "opens": "2026-11-27T11:00:00Z"}
    return Pages(settings(rooms={"checkout": room}), draw=lambda: 0.5)


def header(answer, name: str) -> str:
    (value,) = [value for key, value in answer.headers if key == name.encode()]
    return value.decode()


# --------------------------------------------------------------------------- form


@pytest.mark.parametrize("tag", TAGS)
def test_every_page_fits_into_the_first_flight(pages, sale, tag):
    for made in (pages, sale):
        sizes = {name: len(answer.body) for name, answer in every_page(made, tag=tag)}
        assert max(sizes.values()) < MOST, sizes


def test_a_shop_that_has_no_opening_and_no_draw_does_not_carry_them(pages, sale):
    sizes = [len(dict(every_page(made))["waiting-line"].body) for made in (pages, sale)]
    assert sizes[0] < sizes[1] - 1500


class Outline(HTMLParser):
    """Balanced elements, unique ids, no external address."""

    VOID = frozenset(["meta", "link", "input", "img", "br"])

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.html: dict[str, str | None] = {}
        self.labels: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute twice on {tag}"
        self.tags.append(tag)
        if tag == "html":
            self.html = found
        if found.get("id"):
            self.ids.append(found["id"])
        self.links += [value for name, value in attrs if name in ("href", "src", "action") and value]
        assert not [name for name in found if name.startswith("on") or name == "style"], "the policy would refuse it"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.mark.parametrize("tag", TAGS)
def test_the_markup_is_whole_and_loads_nothing(pages, tag):
    for name, answer in every_page(pages, tag=tag):
        page = Outline()
        page.feed(answer.body.decode())
        page.close()
        assert answer.body.startswith(b"<!doctype html>"), name
        assert page.open == [], name
        assert len(page.ids) == len(set(page.ids)), name
        assert page.html == {"lang": tag, "dir": "rtl" if tag == "ar" else "ltr"}
        assert [page.tags.count(one) for one in ("main", "h1", "title", "header")] == [1, 1, 1, 1], name
        for link in page.links:
            assert re.match(r"/(?!/)|data:,|tel:", link), (name, link)
        assert b"\x1a" not in answer.body, name
        assert header(answer, "content-language") == tag


def test_inline_parts_are_those_the_policy_names(pages):
    for name, answer in every_page(pages):
        policy = dict(rule.split(" ", 1) for rule in header(answer, "content-security-policy").split("; "))
        assert policy["default-src"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in str(policy)
        for kind in ("script", "style"):
            parts = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.body.decode(), re.DOTALL)
            hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in parts}
            assert set(policy.get(f"{kind}-src", "").split()) == hashes, name


def test_no_cache_may_keep_what_is_personal(pages):
    for form in ("html", "json"):
        for name, answer in every_page(pages, accepts=form):
            assert header(answer, "cache-control") == "no-store, private", name
            assert header(answer, "cdn-cache-control") == header(answer, "surrogate-control") == "no-store"
            assert header(answer, "vary") == "Cookie, Accept, Accept-Language"
            assert header(answer, "x-robots-tag") == "noindex"
            assert header(answer, "x-content-type-options") == "nosniff"
            assert all(key == key.lower() for key, _ in answer.headers)
            assert not {b"content-length", b"transfer-encoding", b"set-cookie"} & {key for key, _ in answer.headers}


def test_the_ticket_itself_is_in_no_page(pages):
    for form in ("html", "json"):
        for _, answer in every_page(pages, accepts=form):
            assert TICKET.id.encode() not in answer.body


# --------------------------------------------------------------------------- facts


STATUSES = {
    "limited": 429,
    "kept": 202,
    "invited": 200,
    **dict.fromkeys(("uninvited-over", "uninvited-unknown", "uninvited-used"), 410),
}
WAITS = ("waiting", "called", "no-ticket", "early", "drawn", "few-left")


def test_statuses_and_when_to_come_back(pages):
    for form in ("html", "json"):
        for name, answer in every_page(pages, accepts=form):
            wanted = int(name.rpartition("-")[2]) if name.startswith("refused-") else STATUSES.get(name, 503)
            assert answer.status == wanted, name
            if answer.status in (429, 503) and not name.startswith("refused"):
                assert int(header(answer, "retry-after")) >= 1, name


@pytest.mark.parametrize("tag", TAGS)
def test_who_reads_without_a_style_sheet_reads_nothing_that_is_not_so(pages, sale, tag):
    """w3m, lynx and some screen readers read what is only hidden, too: a number, a place and what is kept are there or not."""
    by_time = Decision(Outcome.WAIT, Reason.STORE, "checkout", ticket=TICKET._replace(number=AWAY + 17), retry_after=2.0)
    has_number = {"early", "early-draw", "drawn", "few-left", "called", "called-active", "sold-out-placed"}
    has_number |= {f"waiting-{reason}" for reason in ("rate", "active", "line", "hold", "store")}
    not_ahead = {"called", "called-active", "sold-out-placed", "early-draw"}
    for made in (pages, sale):
        language = made._art.languages.known[tag]
        numbered, kept = language.text(sentences.NUMBERED).partition("{n}")[0].strip(), language.text(sentences.KEEP)
        v = visit(tag)
        placed = [Decision(Outcome.CLOSED, reason, "checkout", ticket=TICKET) for reason in (Reason.SOLD_OUT, Reason.SALE_OVER)]
        more = {
            "by-time": made.waiting(v, by_time, VIEW, 0.0),
            "sold-out-placed": made.closed(v, placed[0], replace(VIEW, left=0)),
            "over-placed": made.closed(v, placed[1], VIEW),
        }
        for name, answer in [*every_page(made, tag=tag), *more.items()]:
            page = Outline()
            page.feed(re.sub("<(script|style).*?</\\1>", "", answer.body.decode(), flags=re.DOTALL))
            assert (numbered in page.text) == (name in has_number), name
            assert (kept in page.text) == (name in has_number | {"by-time"}), name
            ahead = any(f"1{language.group}{rest}" in page.text for rest in (251, 425, 431))
            assert ahead == (name in has_number - not_ahead), name


@pytest.mark.parametrize("status", [200, 202, 429, 503])
def test_the_room_says_with_which_status_one_waits(status):
    pages = Pages(settings(rooms={"checkout": {**ROOMS["checkout"], "status": status}}))
    assert pages.waiting(visit(), Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), VIEW, 0.0).status == status


@pytest.mark.parametrize("tag", TAGS)
def test_json_and_page_say_the_same(pages, tag):
    told = {name: json.loads(answer.body) for name, answer in every_page(pages, tag=tag, accepts="json")}
    for name, answer in every_page(pages, tag=tag):
        page = Outline()
        page.feed(answer.body.decode())
        document = told.get(name, {"detail": ""})
        if not name.startswith("refused-"):
            said = document["detail"].split(". ") if name.startswith("uninvited") else [document["detail"]]
            assert all(each in page.text for each in said) or name == "fallback", name
        if "retry_after" in document and answer.status in (429, 503):
            assert abs(document["retry_after"] - int(header(answer, "retry-after"))) <= 1, name
        if document.get("ahead") is not None and document["state"] in ("line", "hold", "store"):
            group = "." if tag == "de" else ","
            assert f"{document['ahead']:,}".replace(",", group) in page.text, name
            assert f'data-ahead="{document["ahead"]}"' in answer.body.decode()
        if document.get("number"):
            assert f'data-number="{document["number"]}"' in answer.body.decode()
        if "state" in document and "room" in document:
            assert f'data-state="{document["state"]}"' in answer.body.decode()


def test_a_place_in_line_as_a_document(pages):
    answer = pages.waiting(visit(accepts="json"), Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), VIEW, 0.0)
    assert header(answer, "content-type") == "application/json"
    found = json.loads(answer.body)
    assert found.pop("detail")
    assert found == {
        "state": "line", "reason": "line", "room": "checkout", "number": 1432, "turn": 1432, "epoch": 1, "ahead": 1251,
        "wait": {"low": 626, "high": 921}, "retry_after": 34.5, "message": "", "opens": None, "left": None, "grace": 3600.0,
        "heading": "You are in line", "status_url": "/__gate/rooms/checkout/status",
        "ticket_url": "/__gate/rooms/checkout/ticket", "pass_url": "/__gate/rooms/checkout/pass",
    }  # fmt: skip


def test_each_cause_has_its_own_sentence(pages):
    said = {
        name: json.loads(answer.body)["detail"] for name, answer in every_page(pages, accepts="json") if "refused" not in name
    }
    distinct = [
        "waiting-rate",
        "waiting-active",
        "waiting-line",
        "waiting-hold",
        "waiting-store",
        "no-ticket",
        "called",
        "closed",
        "early",
        "early-draw",
        "full",
        "sold-out",
        "over",
    ]
    assert len({said[name] for name in distinct}) == len(distinct)
    assert said["called-active"] == said["waiting-active"]


def test_a_document_tells_why_an_invitation_does_not_count(pages):
    told = {cause: json.loads(pages.uninvited(visit(accepts="json"), cause, 410, "/").body) for cause in sentences.UNINVITED}
    assert told["used"]["detail"] == "This invitation is used up. You can take a place in the line as everybody does."
    assert told["over"]["detail"].startswith("This invitation is over. ")


@pytest.mark.parametrize("tag", TAGS)
def test_nobody_is_sent_to_a_name_that_has_no_shop(pages, tag):
    """Each address of the wrong host has the same page."""
    for status in sentences.REFUSED:
        page = pages.problem(status, "why it was", "html", (tag,)).body.decode()
        assert ("<a " in page) == (status != 421), status


@pytest.mark.parametrize("tag", TAGS)
def test_who_is_invited_takes_no_part_in_the_draw(sale, tag):
    early = replace(VIEW, opens=1_795_777_200.0, serving=0, last=1432, waiting=1432, draw=True, seed=SEED)
    early = replace(early, groups={tag_of("members"): GroupView(0, 0.3, 9)})
    not_open = Decision(Outcome.WAIT, Reason.NOT_OPEN, "checkout", retry_after=20.0)
    mine = replace(not_open, ticket=TICKET._replace(number=group_number(tag_of("members"), 7)))
    says = sale._art.languages.known[tag].text
    page = sale.waiting(visit(tag), mine, early, 1_795_770_000.0).body.decode()
    assert says(sentences.BESIDE_DRAW) in page
    assert says(sentences.DRAW) not in page.partition("<script")[0]
    assert re.search('<details[^>]* id="?draw"? hidden', page)
    assert commitment(SEED) not in page
    assert says(sentences.HERE).partition("{n}")[0] not in page.partition('id="more"')[2].partition("</p>")[0]
    told = json.loads(sale.waiting(visit(tag, accepts="json"), mine, early, 1_795_770_000.0).body)
    assert (told["detail"], told["ahead"]) == (says(sentences.BESIDE_DRAW), 6)
    others = sale.waiting(visit(tag), replace(not_open, ticket=TICKET), early, 1_795_770_000.0).body.decode()
    assert says(sentences.DRAW) in others
    assert commitment(SEED) in others


def test_refusals_are_problem_documents(pages):
    for name, answer in every_page(pages, accepts="json"):
        if answer.status >= 400 and not name.startswith(WAITS):
            assert header(answer, "content-type") == "application/problem+json", name
            document = json.loads(answer.body)
            assert document["status"] == answer.status
            assert document["title"]
            assert document["detail"]


def test_a_client_that_asks_too_often_is_told_its_limit(pages):
    answer = dict(every_page(pages))["limited"]
    assert header(answer, "ratelimit-policy") == '"address";q=20;w=60'
    assert header(answer, "ratelimit") == '"address";r=0;t=12'
    assert header(answer, "retry-after") == "12"


def test_those_who_wait_do_not_come_back_together():
    draws = iter([0.0, 0.999] * 4)
    pages = Pages(settings(), draw=lambda: next(draws))
    decision = Decision(Outcome.FALLBACK, Reason.ORIGIN_DOWN, retry_after=30.0)
    assert [header(pages.fallback(visit(), decision, 0.0), "retry-after") for _ in range(2)] == ["30", "39"]
    held = Decision(Outcome.WAIT, Reason.HOLD, "checkout", ticket=TICKET, retry_after=20.0)
    assert [header(pages.waiting(visit(), held, VIEW, 0.0), "retry-after") for _ in range(2)] == ["20", "26"]


# --------------------------------------------------------------------------- what visitors send


def test_a_refusal_repeats_nothing_on_the_page(pages):
    answer = pages.problem(400, "<script>alert(1)</script>", "html")
    assert b"alert" not in answer.body
    assert json.loads(pages.problem(400, "<script>", "json").body)["detail"] == "<script>"


@given(
    target=st.binary(min_size=1, max_size=60),
    query=st.binary(max_size=60),
    host=st.text(max_size=20),
    referer=st.binary(max_size=60),
)
def test_nothing_a_visitor_sends_becomes_markup(pages, target, query, host, referer):
    mark = b'"><script>alert(1)</script><b x="'
    for method in ("GET", "POST"):
        v = visit(
            method=method, path=Path(b"/" + target + mark, "/x"), query=query + mark, host=host + mark.decode(),
            headers=((b"referer", b"http://" + host.encode("utf-8", "replace") + b"/" + referer + mark),),
        )  # fmt: skip
        for decision, page in (
            (Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), lambda v, d: pages.waiting(v, d, VIEW, 0.0)),
            (Decision(Outcome.FALLBACK, Reason.ORIGIN_DOWN), lambda v, d: pages.fallback(v, d, 0.0)),
            (Decision(Outcome.LIMIT, Reason.RATE_LIMIT, retry_after=1.0), pages.limited),
        ):
            answer = page(v, decision)
            assert b"<script>alert" not in answer.body
            assert b"<b x=" not in answer.body
            assert not [value for _, value in answer.headers if b"alert" in value or b"\n" in value]


def test_the_operators_and_the_shops_words_are_text():
    hostile = "</p><script>alert(1)</script>\x1ahead\x1a{{ 7*7 }} & Söhne"
    given = settings(brand={"name": hostile, "message": hostile}, fallback={"message": hostile, "phone": hostile})
    pages = Pages(given, draw=lambda: 0.5)  # another time to come back may have a 49 in it
    view = replace(VIEW, message="</p><script>alert(2)</script>")
    for answer in (
        pages.waiting(visit(), Decision(Outcome.WAIT, Reason.LINE, "checkout", ticket=TICKET), view, 0.0),
        pages.fallback(visit(), Decision(Outcome.FALLBACK, Reason.ORIGIN_DOWN), 0.0),
    ):
        assert b"<script>alert" not in answer.body
        assert b"49" not in re.sub(rb"<style>.*?</style>|<script>.*?</script>", b"", answer.body, flags=re.DOTALL)
        assert b"&amp; S\xc3\xb6hne" in answer.body


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/", "/"),
        ("/a?b=c", "/a?b=c"),
        ("/a//b", "/a//b"),
        ("//a", None),
        ("/\\a", None),
        ("/a\\b", None),
        ("a", None),
        ("", None),
        ("http://x/", None),
        ("/a b", None),
        ("/a\nb", None),
        ("/a\x7f", None),
        ("/é", None),
        ("/__gate/x", None),
        ("/__GATE", None),
        ("/" + "a" * 2048, None),
    ],
)
def test_paths_to_go_back_to(target, found):
    assert checked_path(target) == found


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        (b"http://shop.test/shoe?c=1", "/shoe?c=1"),
        (b"https://SHOP.test/shoe#x", "/shoe"),
        (b"http://evil.test/shoe", "/"),
        (b"http://shop.test@evil.test/", "/"),
        (b"http://shop.test//evil.test/", "/"),
        (b"", "/"),
        (b"http://[", "/"),
        (b"/shoe", "/"),
        (b"http://shop.test", "/"),
    ],
)
def test_who_sent_a_form_goes_back_to_its_page(referer, back):
    assert way_back(visit(method="POST", headers=((b"referer", referer),))) == back


# --------------------------------------------------------------------------- what the shop configures


def test_a_shops_own_page_is_served_as_it_is(tmp_path):
    page = tmp_path / "down.html"
    page.write_bytes(b"<h1>Down {{ name }}</h1><form method=post action=/__gate/notify-me><input name=email></form>")
    pages = Pages(settings(fallback={"page": str(page)}))
    answer = pages.fallback(visit(), Decision(Outcome.FALLBACK, Reason.ORDERED), 0.0)
    assert (answer.status, answer.body) == (503, page.read_bytes())
    assert b"content-security-policy" not in dict(answer.headers)
    assert header(answer, "cache-control") == "no-store, private"
    assert int(header(answer, "retry-after")) >= 30


def test_a_copy_of_our_own_page_keeps_working(tmp_path):
    from gate import resources

    page = tmp_path / "down.html"
    page.write_text(resources.static("fallback.html").read_text().replace("<h1>", "<h1>Northwind: "))
    answer = Pages(settings(fallback={"page": str(page), "phone": "+49 30 1"})).fallback(
        visit("de"), Decision(Outcome.FALLBACK, Reason.ORDERED), 0.0
    )
    assert "Northwind: Wir sind gleich wieder da" in answer.body.decode()
    assert 'href="tel:+49301"' in answer.body.decode()


def test_phone_and_form_can_be_left_out():
    pages = Pages(settings(fallback={"emails": False}))
    body = pages.fallback(visit(), Decision(Outcome.FALLBACK, Reason.ORIGIN_DOWN), 0.0).body.decode()
    assert "tel:" not in body
    assert "notify-me" not in body


@pytest.mark.parametrize(
    ("name", "content", "kind"), [("l.png", PNG, "image/png"), ("l.svg", b"<svg xmlns='x'/>", "image/svg+xml")]
)
def test_the_logo_travels_in_the_page(tmp_path, name, content, kind):
    logo = tmp_path / name
    logo.write_bytes(content)
    body = Pages(settings(brand={"logo": str(logo), "name": "Ann & Bob"})).kept(visit()).body.decode()
    assert f'<img src="data:{kind};base64,{base64.b64encode(content).decode()}" alt="Ann &amp; Bob">' in body


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"brand": {"logo": "/nowhere/logo.svg"}}, "brand.logo: /nowhere/logo.svg cannot be read"),
        ({"brand": {"languages": ["en", "fr"]}}, "brand.languages: no pages in 'fr'; there are ar, de, en"),
        ({"fallback": {"page": "/nowhere/page.html"}}, "fallback.page: /nowhere/page.html cannot be read"),
        (
            {"routes": [{"match": "/x", "fallback": {"text": "x", "headers": {"Content-Length": "3"}}}]},
            "'Content-Length' cannot be set",
        ),
        (
            {"routes": [{"match": "/x", "fallback": {"text": "x", "headers": {"A": "b\r\nc: d"}}}]},
            "printable ASCII on one line",
        ),
        (
            {"routes": [{"match": "/x", "fallback": {"file": "/nowhere/x.json"}}]},
            "fallback.file: /nowhere/x.json cannot be read",
        ),
    ],
)
def test_what_cannot_be_made_is_said_at_start(more, said):
    with pytest.raises(PageError) as error:
        Pages(settings(**more))
    assert said in str(error.value)


def test_a_logo_is_small_and_a_picture(tmp_path):
    logo = tmp_path / "logo.svg"
    for content, said in ((b"<svg>" + b" " * 7000, "has 7005 bytes"), (b"<html>", "neither SVG nor PNG")):
        logo.write_bytes(content)
        with pytest.raises(PageError, match=said):
            Pages(settings(brand={"logo": str(logo)}))


@pytest.mark.parametrize(
    ("canned", "status", "kind", "body"),
    [
        ({"status": 204}, 204, None, b""),
        ({"json": {"rate": 7.99}}, 200, "application/json", b'{"rate": 7.99}'),
        ({"html": "<p>Later</p>"}, 200, "text/html; charset=utf-8", b"<p>Later</p>"),
        ({"text": "later", "status": 503}, 503, "text/plain; charset=utf-8", b"later"),
        ({"json": [], "headers": {"Content-Type": "application/vnd.x+json", "X-A": "b"}}, 200, "application/vnd.x+json", b"[]"),
    ],
)
def test_canned_answers(canned, status, kind, body):
    given = settings(routes=[{"match": "/api", "fallback": canned}])
    answer = Pages(given).canned(given.routes[0].fallback, visit())
    assert (answer.status, answer.body) == (status, body)
    assert dict(answer.headers).get(b"content-type") == (kind.encode() if kind else None)
    assert header(answer, "cache-control") == "no-store, private"


def test_a_canned_answer_may_say_how_it_is_cached(tmp_path):
    file = tmp_path / "reviews.json"
    file.write_text("[]")
    given = settings(
        routes=[{"match": "/r", "fallback": {"file": str(file), "headers": {"Cache-Control": "public, max-age=5"}}}]
    )
    answer = Pages(given).canned(given.routes[0].fallback, visit())
    assert header(answer, "cache-control") == "public, max-age=5"
    assert header(answer, "content-type") == "application/json"


@cache
def in_all_languages(draw: float) -> Pages:
    return Pages(settings(brand={"languages": TAGS}), draw=lambda: draw)


@pytest.mark.parametrize("reason", [Reason.LINE, Reason.RATE, Reason.ACTIVE, Reason.HOLD])
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"through": 190, "message": "100 % sure"},
        {"epoch": 2, "base": 700},
        {"left": 40},
        {"draw": True, "seed": SEED, "drawn": 1500},
        {"drawn": 1500, "seed": SEED},
        {"mode": RoomMode.HOLD},
        {"amount": 100_000, "present": 0.3, "tokens": 3.0},
    ],
)
def test_what_newcomers_of_one_kind_are_told_is_what_each_would_be_told_alone(reason, tag, changed):
    view = replace(VIEW, **changed)
    places = [
        TICKET._replace(number=number, epoch=epoch)
        for epoch in (view.epoch, 1)
        for number in (1432, 1, 189, 190, 191, 192, 193, 202, 303, 1190, 1701, 250_000, AWAY + 5)
    ]
    for form, draw in (("html", 0.0), ("html", 0.37), ("html", 0.999), ("json", 0.5)):
        visitor = visit(tag, accepts=form)
        pages = in_all_languages(draw)
        each = [Decision(Outcome.WAIT, reason, "checkout", ticket=place, retry_after=0.7) for place in places]
        welcome = pages.welcome(visitor, each[0], view, 5.0, Return(visitor, "checkout"))
        for decision in each:
            alone = pages.waiting(visitor, decision, view, 5.0)
            assert welcome.fill(decision.ticket) == (int(header(alone, "retry-after")), alone.body)
            assert welcome.status == alone.status


_PREPARED = Artwork(settings()).of(Artwork(settings()).languages.default, "waiting")


@given(st.sets(st.sampled_from(["title", "head", "place", "back", "resend", "keep"])))
def test_a_page_filled_in_two_goes_is_the_page_filled_at_once(first):
    prepared = _PREPARED
    values = {name: f"<{name}>".encode() for name in prepared.gaps}
    half = prepared.with_filled({name: values[name] for name in first})
    assert half.gaps == prepared.gaps - first
    assert half.fill(values) == prepared.fill(values)
    assert half.policy == prepared.policy
    names = [name for name, _ in half._gaps]
    parts = half.around(names)
    parts[1::2] = [values[name] for name in names]
    assert b"".join(parts) == prepared.fill(values)
    with pytest.raises(ValueError, match="the gaps are title"):
        prepared.around(["title", "title"])
