"""The order of decisions, row by row; docs/architecture.md carries the same table and is checked against this one."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gate.core.credentials import Pass, Ticket
from gate.core.decide import client_of, decide
from gate.core.decision import Claim, Decision, Entry, Hit, Join, Quota, Told
from gate.core.line import AWAY, group_number, tag_of
from gate.core.path import Path
from gate.core.settings import Limit, Settings
from gate.core.snapshot import GroupView, RoomView, Snapshot
from gate.core.visit import Visit
from gate.core.words import Reason, RoomMode, Shedding, Switch

SETTINGS = Settings.model_validate(
    {
        "rooms": {
            "checkout": {
                "match": ["/checkout/**", "POST /cart/add"],
                "rate": "60/minute",
                "bypass": [{"address": "192.0.2.0/24"}, {"header": {"X-Monitor": "s3cret"}}],
            },
            "quiet": {"match": "/quiet/**", "rate": "1/minute", "shadow": True},
        },
        "limits": [{"match": "/search", "rate": "2/minute"}, {"match": "/checkout/pay", "rate": "5/minute"}],
        "routes": [
            {"match": "/reviews/**", "class": "sheddable", "fallback": {"status": 204}},
            {"match": "/api/shipping-rates", "breaker": {}, "fallback": {"json": {"rate": 7.99}}},
            {"match": "/checkout/vital", "class": "critical"},
            {"match": "/checkout/extra", "class": "sheddable"},
        ],
    }
)
NOW = 1_000_000.0
VIEW = RoomView("checkout", amount=60, burst=1, epoch=2, serving=100, last=200, waiting=100, base=170)
CALM = Snapshot(taken=NOW, store_up=True, rooms={"checkout": VIEW, "quiet": replace(VIEW, name="quiet")})
MEMBERS = tag_of("members")
INVITING = replace(CALM, rooms={"checkout": replace(VIEW, groups={MEMBERS: GroupView(serving=3, share=0.2, last=9)})})
PASS = Pass("checkout", "a", NOW - 10, NOW + 590)
CALLED = Ticket("checkout", 2, 100, 0, "a")
WAITING = Ticket("checkout", 2, 101, 0, "b")
BY_TIME = Ticket("checkout", 1, AWAY + 5, 0, "c")


def visit(path: str = "/", method: str = "GET", **more) -> Visit:
    fields = {"address": ip_address("198.51.100.7"), **more}
    return Visit(method, "https", "shop.example", Path(path.encode(), path), b"", fields.pop("headers", ()), **fields)


def room(mode: RoomMode) -> Snapshot:
    return replace(CALM, rooms={**CALM.rooms, "checkout": replace(VIEW, mode=mode)})


BLOCKED = Told(
    quotas={SETTINGS.limits[0].name: Quota(False, 2, 60, 0, 31.0), SETTINGS.limits[1].name: Quota(False, 5, 60, 0, 31.0)}
)
EVERYTHING_WRONG = replace(
    CALM,
    fallback=Switch.ON,
    shedding=Shedding.NORMAL,
    open_breakers=frozenset(route.name for route in SETTINGS.routes),
    store_up=False,
    rooms={"checkout": replace(VIEW, mode=RoomMode.CLOSED)},
)
BUT_FALLBACK = replace(EVERYTHING_WRONG, fallback=Switch.AUTO)


@pytest.mark.parametrize(
    ("name", "request_", "snapshot", "told", "expected"),
    [
        # each step wins over every later one
        ("own endpoints come first", visit("/__gate/live"), EVERYTHING_WRONG, BLOCKED, "own; reason=endpoint"),
        ("the bare prefix is ours too", visit("/__gate"), EVERYTHING_WRONG, BLOCKED, "own; reason=endpoint"),
        ("then the ordered fallback", visit("/checkout/pay"), EVERYTHING_WRONG, BLOCKED, "fallback; reason=ordered"),
        ("or the origin's failure", visit("/"), replace(CALM, origin_up=False), Told(), "fallback; reason=origin-down"),
        (
            "which an order can overrule",
            visit("/"),
            replace(CALM, origin_up=False, fallback=Switch.OFF),
            Told(),
            "forward; reason=unguarded",
        ),
        (
            "fallback spares nobody",
            visit("/checkout", passes={"checkout": PASS}),
            replace(CALM, fallback=Switch.ON),
            Told(),
            "fallback; reason=ordered",
        ),
        (
            "then bypass, past limit and room",
            visit("/checkout/pay", address=ip_address("192.0.2.9")),
            room(RoomMode.CLOSED),
            BLOCKED,
            "forward; room=checkout; reason=bypass",
        ),
        (
            "bypass by header",
            visit("/checkout", headers=((b"x-monitor", b"s3cret"),)),
            room(RoomMode.HOLD),
            Told(),
            "forward; room=checkout; reason=bypass",
        ),
        ("not by a wrong header", visit("/checkout", headers=((b"x-monitor", b"s3cre"),)), CALM, Told(), Join),
        ("not by an unknown address", visit("/checkout", address=None), CALM, Told(), Join),
        (
            "then the limit",
            visit("/checkout/pay", passes={"checkout": PASS}),
            BUT_FALLBACK,
            BLOCKED,
            "limit; reason=rate-limit",
        ),
        ("which is asked for", visit("/search"), CALM, Told(), Hit),
        (
            "a limit the store cannot tell lets through",
            visit("/search"),
            CALM,
            Told(quotas={SETTINGS.limits[0].name: None}),
            "forward; reason=unguarded",
        ),
        ("then the room", visit("/checkout"), BUT_FALLBACK, Told(), "closed; room=checkout; reason=room-closed"),
        ("a pass enters", visit("/checkout", passes={"checkout": PASS}), CALM, Told(), "forward; room=checkout; reason=pass"),
        (
            "a pass enters a held room",
            visit("/checkout", passes={"checkout": PASS}),
            room(RoomMode.HOLD),
            Told(),
            "forward; room=checkout; reason=pass",
        ),
        (
            "a pass enters a closed room",
            visit("/checkout", passes={"checkout": PASS}),
            room(RoomMode.CLOSED),
            Told(),
            "forward; room=checkout; reason=pass",
        ),
        (
            "a pass enters without the store",
            visit("/checkout", passes={"checkout": PASS}),
            replace(CALM, store_up=False),
            Told(),
            "forward; room=checkout; reason=pass",
        ),
        ("a pass of another room does not", visit("/checkout", passes={"quiet": PASS}), CALM, Told(), Join),
        (
            "a revoked pass does not",
            visit("/checkout", passes={"checkout": PASS}),
            replace(CALM, rooms={"checkout": replace(VIEW, revoked=frozenset("a"))}),
            Told(),
            Join,
        ),
        ("an open room needs none", visit("/checkout"), room(RoomMode.OPEN), Told(), "forward; room=checkout; reason=open"),
        ("a newcomer joins", visit("/checkout"), CALM, Told(), Join),
        ("a newcomer joins a held room", visit("/checkout"), room(RoomMode.HOLD), Told(), Join),
        ("method patterns count", visit("/cart/add", "POST"), CALM, Told(), Join),
        ("and leave others alone", visit("/cart/add", "GET"), CALM, Told(), "forward; reason=unguarded"),
        ("a lower-case method is no way around", visit("/cart/add", "post"), CALM, Told(), Join),
        ("a called ticket claims", visit("/checkout", tickets={"checkout": CALLED}), CALM, Told(), Claim),
        (
            "a ticket that an earlier epoch gave out and the store forgot claims",
            visit("/checkout", tickets={"checkout": WAITING._replace(epoch=1, number=10**6)}),
            CALM,
            Told(),
            Claim,
        ),
        (
            "also when its number has been given again",
            visit("/checkout", tickets={"checkout": WAITING._replace(epoch=1, number=180)}),
            CALM,
            Told(),
            Claim,
        ),
        (
            "any other of an earlier epoch waits for its turn",
            visit("/checkout", tickets={"checkout": WAITING._replace(epoch=1, number=170)}),
            CALM,
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "a place by time, given in the epoch before, waits until all are called who had a number then",
            visit("/checkout", tickets={"checkout": BY_TIME}),
            CALM,
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "and then claims",
            visit("/checkout", tickets={"checkout": BY_TIME}),
            replace(CALM, rooms={"checkout": replace(VIEW, serving=170)}),
            Told(),
            Claim,
        ),
        (
            "one of which this picture cannot tell asks the store",
            visit("/checkout", tickets={"checkout": BY_TIME._replace(epoch=2)}),
            CALM,
            Told(),
            Claim,
        ),
        (
            "and so does one of long ago",
            visit("/checkout", tickets={"checkout": BY_TIME._replace(epoch=1)}),
            replace(CALM, rooms={"checkout": replace(VIEW, epoch=3)}),
            Told(),
            Claim,
        ),
        (
            "a member of a group that is called claims",
            visit("/checkout", tickets={"checkout": WAITING._replace(number=group_number(MEMBERS, 3))}),
            INVITING,
            Told(),
            Claim,
        ),
        (
            "and waits before",
            visit("/checkout", tickets={"checkout": WAITING._replace(number=group_number(MEMBERS, 4))}),
            INVITING,
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "a member whose turn is still to come, after the epoch turned",
            visit("/checkout", tickets={"checkout": WAITING._replace(epoch=1, number=group_number(MEMBERS, 4))}),
            INVITING,
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "a member whose turn the store has forgotten",
            visit("/checkout", tickets={"checkout": WAITING._replace(number=group_number(MEMBERS, 10))}),
            INVITING,
            Told(),
            Claim,
        ),
        (
            "a ticket not yet called waits",
            visit("/checkout", tickets={"checkout": WAITING}),
            CALM,
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "held: nobody is let in",
            visit("/checkout", tickets={"checkout": CALLED}),
            room(RoomMode.HOLD),
            Told(),
            "wait; room=checkout; reason=hold",
        ),
        (
            "no store: a newcomer gets a place by time",
            visit("/checkout"),
            replace(CALM, store_up=False),
            Told(),
            Join,
        ),
        (
            "and nobody new is let in",
            visit("/checkout", tickets={"checkout": CALLED}),
            replace(CALM, store_up=False),
            Told(),
            "wait; room=checkout; reason=store",
        ),
        (
            "unless by the worker's share: the called claim",
            visit("/checkout", tickets={"checkout": CALLED}),
            replace(CALM, store_up=False, local=True),
            Told(),
            Claim,
        ),
        (
            "and the others wait for their turn",
            visit("/checkout", tickets={"checkout": WAITING}),
            replace(CALM, store_up=False, local=True),
            Told(),
            "wait; room=checkout; reason=line",
        ),
        (
            "told: in by the worker's share",
            visit("/checkout"),
            replace(CALM, store_up=False, local=True),
            Told(entry=Entry("entered", CALLED, NOW + 600, reason=Reason.LOCAL)),
            "forward; room=checkout; reason=local",
        ),
        (
            "an open room needs no store at all",
            visit("/checkout"),
            replace(room(RoomMode.OPEN), store_up=False),
            Told(),
            "forward; room=checkout; reason=open",
        ),
        (
            "told: the store is away",
            visit("/checkout"),
            replace(CALM, store_up=False),
            Told(entry=Entry("waiting", WAITING, retry_after=10, reason=Reason.STORE)),
            "wait; room=checkout; reason=store",
        ),
        ("the store failed just now", visit("/checkout"), CALM, Told(entry_failed=True), "wait; room=checkout; reason=store"),
        (
            "told: in",
            visit("/checkout"),
            CALM,
            Told(entry=Entry("entered", CALLED, NOW + 600)),
            "forward; room=checkout; reason=admitted",
        ),
        (
            "told: wait",
            visit("/checkout"),
            CALM,
            Told(entry=Entry("waiting", WAITING, retry_after=3, reason=Reason.ACTIVE)),
            "wait; room=checkout; reason=active",
        ),
        (
            "told: spent, so join anew",
            visit("/checkout", tickets={"checkout": CALLED}),
            CALM,
            Told(entry=Entry("spent", CALLED)),
            Join,
        ),
        ("a shadow room asks the same", visit("/quiet/x"), CALM, Told(), Join),
        (
            "and lets through",
            visit("/quiet/x"),
            CALM,
            Told(entry=Entry("waiting", WAITING)),
            "forward; room=quiet; reason=shadow",
        ),
        # can the origin take one more?
        (
            "an open breaker",
            visit("/api/shipping-rates"),
            replace(CALM, open_breakers=frozenset([SETTINGS.routes[1].name])),
            Told(),
            "fallback; reason=breaker",
        ),
        ("shed the sheddable", visit("/reviews/7"), replace(CALM, shedding=Shedding.SHEDDABLE), Told(), "shed; reason=ordered"),
        ("by measurement", visit("/reviews/7"), replace(CALM, overload=1), Told(), "shed; reason=overload"),
        (
            "not when ordered off",
            visit("/reviews/7"),
            replace(CALM, overload=2, shedding=Shedding.OFF),
            Told(),
            "forward; reason=unguarded",
        ),
        ("normal ones later", visit("/"), replace(CALM, overload=1), Told(), "forward; reason=unguarded"),
        ("normal ones at level 2", visit("/"), replace(CALM, overload=2), Told(), "shed; reason=overload"),
        (
            "what a room guards is critical",
            visit("/checkout", passes={"checkout": PASS}),
            replace(CALM, overload=2),
            Told(),
            "forward; room=checkout; reason=pass",
        ),
        (
            "unless its route says otherwise",
            visit("/checkout/extra", passes={"checkout": PASS}),
            replace(CALM, overload=1),
            Told(),
            "shed; room=checkout; reason=overload",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_order(name, request_, snapshot, told, expected):
    decided = decide(request_, snapshot, SETTINGS, told)
    if isinstance(expected, str):
        assert isinstance(decided, Decision), f"{name}: asked {decided}"
        assert decided.label == expected
    else:
        assert isinstance(decided, expected), f"{name}: {decided}"


def test_who_has_a_place_by_time_looks_the_oftener_the_fewer_with_numbers_are_left():
    waits = []
    for serving in (100, 150, 169):
        snapshot = replace(CALM, rooms={"checkout": replace(VIEW, serving=serving, through=serving)})
        decision = decide(visit("/checkout", tickets={"checkout": BY_TIME}), snapshot, SETTINGS)
        assert isinstance(decision, Decision)
        waits.append(decision.retry_after)
    assert waits == [pytest.approx(0.15 * 71), pytest.approx(0.15 * 21), 2.0]
    held = replace(CALM, rooms={"checkout": replace(VIEW, amount=0)})
    decision = decide(visit("/checkout", tickets={"checkout": BY_TIME}), held, SETTINGS)
    assert isinstance(decision, Decision)
    assert decision.retry_after == 20.0


def test_a_pass_is_renewed_in_the_second_half_of_its_life():
    early = decide(visit("/checkout", passes={"checkout": replace(PASS, expires=NOW + 301)}), CALM, SETTINGS)
    late = decide(visit("/checkout", passes={"checkout": replace(PASS, expires=NOW + 299)}), CALM, SETTINGS)
    assert isinstance(early, Decision)
    assert isinstance(late, Decision)
    assert (early.renew, late.renew) == (False, True)


def test_admitted_carries_the_pass_with_the_tickets_id():
    decided = decide(visit("/checkout"), CALM, SETTINGS, Told(entry=Entry("entered", CALLED, NOW + 600)))
    assert isinstance(decided, Decision)
    assert decided.granted == Pass("checkout", CALLED.id, NOW, NOW + 600)


@pytest.mark.parametrize(
    ("by", "fields", "client"),
    [
        ("address", {"address": ip_address("198.51.100.7")}, "198.51.100.7"),
        ("address", {"address": ip_address("2001:db8:1:2:aaaa::1")}, "2001:db8:1:2::/64"),
        ("address", {"address": None}, None),
        ("pass", {"passes": {"checkout": PASS}}, "a"),
        ("pass", {}, None),
        ("header:X-Api-Key", {"headers": ((b"x-api-key", b"k1"),)}, "k1"),
        ("header:X-Api-Key", {}, None),
    ],
)
def test_who_a_limit_counts(by, fields, client):
    limit = Limit.model_validate({"match": "/x", "rate": "1/second", "by": by})
    assert client_of(limit, visit("/x", **fields)) == client
