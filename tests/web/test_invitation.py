"""The link that leads into a group: one use for one person, nothing kept of its token, kind words where it does not count."""

import json
import time
from dataclasses import replace
from urllib.parse import quote

import pytest

from gate.core.decision import Quota
from gate.core.invitations import Invitation, sign_invitation
from gate.core.settings import Limit
from gate.core.words import RoomMode
from tests.web.conftest import ROOM

NAVIGATES = {"accept": "text/html", "sec_fetch_mode": "navigate", "sec_fetch_site": "cross-site"}
JSON = {"accept": "application/json"}
MEMBERS = Invitation("checkout", "members", "i1", 1, int(time.time()) + 3600)


@pytest.fixture
def gate(make_gate):
    return make_gate(rooms={"checkout": {**ROOM, "groups": {"members": {"share": "50%"}}}})


def link(gate, invitation: Invitation = MEMBERS, to: str = "/checkout/pay?a=1", **more: str) -> str:
    token = more.get("token") or sign_invitation(invitation, gate.engine.keyring)
    return f"/__gate/rooms/checkout/invitation?token={token}&to={quote(to, safe='')}"


async def test_the_link_gives_a_ticket_of_the_group_in_the_place_of_an_ordinary_one(gate):
    await gate.ask("GET", "/checkout", **NAVIGATES)
    ordinary = dict(gate.jar)
    reply = await gate.ask("GET", link(gate), **NAVIGATES)
    assert (reply.status, reply["location"]) == (303, "/checkout/pay?a=1")
    assert reply["referrer-policy"] == "no-referrer"
    assert "no-store" in reply["cache-control"]
    assert gate.jar.keys() == ordinary.keys()
    assert gate.jar != ordinary
    page = await gate.ask("GET", reply["location"], **NAVIGATES)
    assert 'data-number="7"' in page.text
    place = dict(gate.jar)
    assert (await gate.ask("GET", link(gate), **NAVIGATES)).status == 303, "followed again, it is no second use"
    assert gate.jar == place


@pytest.mark.parametrize(
    ("invitation", "status", "heading"),
    [
        (replace(MEMBERS, expires=int(time.time()) - 1), 410, "This invitation is over"),
        (replace(MEMBERS, room="vault"), 403, "This is no invitation of ours"),
        (replace(MEMBERS, group="nobody"), 403, "This is no invitation of ours"),
    ],
)
async def test_what_does_not_count_is_told_and_leads_to_the_line(gate, invitation, status, heading):
    reply = await gate.ask("GET", link(gate, invitation), **NAVIGATES)
    assert reply.status == status
    assert heading in reply.text
    assert 'href="/checkout/pay?a=1"' in reply.text
    assert reply["referrer-policy"] == "no-referrer"
    assert not reply.all("set-cookie")
    assert gate.room.calls == []
    told = await gate.ask("GET", link(gate, invitation), **JSON)
    assert (told.status, told["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("token", ["", "x", "x.y", "e30.AAAA", "a" * 5000])
async def test_a_token_that_is_none(gate, token):
    reply = await gate.ask("GET", link(gate, token=token or "%20"), **NAVIGATES)
    assert reply.status == 403
    assert gate.room.calls == []


async def test_a_used_up_invitation_leaves_the_ordinary_place(gate):
    assert (await gate.ask("GET", link(gate), cookies=False, **NAVIGATES)).status == 303
    await gate.ask("GET", "/checkout", **NAVIGATES)
    ordinary = dict(gate.jar)
    reply = await gate.ask("GET", link(gate), **NAVIGATES)
    assert reply.status == 410
    assert "This invitation is used up" in reply.text
    assert gate.jar == ordinary


@pytest.mark.parametrize(
    "how",
    [
        {"accept": "text/html"},
        {"accept": "*/*", "user_agent": "Slackbot"},
        {**NAVIGATES, "sec_purpose": "prefetch"},
        {"accept": "text/html", "sec_fetch_mode": "no-cors"},
    ],
)
async def test_who_looks_at_links_for_others_uses_nothing_up(gate, how):
    reply = await gate.ask("GET", link(gate), **how)
    assert reply.status == 200
    assert "You are invited" in reply.text
    assert gate.room.calls == []
    assert not reply.all("set-cookie")
    (target,) = [part.split('"')[0] for part in reply.text.split('href="')[1:] if "invitation" in part]
    through = await gate.ask("GET", target.replace("&amp;", "&"), accept="text/html")
    assert through.status == 303


async def test_head_uses_nothing_up(gate):
    assert (await gate.ask("HEAD", link(gate), **NAVIGATES)).status == 200
    assert gate.room.calls == []


async def test_a_program_gets_its_ticket(gate):
    reply = await gate.ask("GET", link(gate), cookies=False, **JSON)
    assert (reply.status, json.loads(reply.body)["number"]) == (200, 7)
    assert gate.engine.keyring.read_ticket(reply["gate-ticket"], "checkout").number == 7


async def test_nothing_is_used_where_nobody_gets_in_or_everybody(gate):
    gate.order(RoomMode.CLOSED)
    assert (await gate.ask("GET", link(gate), **NAVIGATES)).status == 503
    gate.order(RoomMode.OPEN)
    assert (await gate.ask("GET", link(gate), **NAVIGATES)).status == 303
    assert gate.room.calls == []


async def test_a_link_with_any_number_of_uses_is_bounded_for_each_client(gate):
    counted: dict[str, int] = {}

    async def hit(limit: Limit, client: str) -> Quota:
        counted[client] = counted.get(client, 0) + 1
        return Quota(counted[client] <= limit.rate.amount, limit.rate.amount, 60, 0, 30.0)

    gate.quotas.hit = hit
    everybody = link(gate, replace(MEMBERS, uses=0))
    statuses = [(await gate.ask("GET", everybody, cookies=False, **NAVIGATES)).status for _ in range(32)]
    assert statuses == [303] * 30 + [429] * 2
    assert gate.room.calls == ["invite"] * 30
    reply = await gate.ask("GET", everybody, cookies=False, **JSON)
    assert (reply.status, reply["retry-after"]) == (429, "30")


async def test_a_limit_on_what_the_room_guards_counts_its_invitations(make_gate):
    limits = [{"match": "/checkout/**", "rate": "1/minute"}, {"match": "/search", "rate": "1/minute"}]
    gate = make_gate(rooms={"checkout": {**ROOM, "groups": {"members": {"share": "50%"}}}}, limits=limits)

    async def hit(limit: Limit, client: str) -> Quota:
        return Quota(limit is not gate.engine.settings.limits[0], 1, 60, 0, 30.0)

    gate.quotas.hit = hit
    assert (await gate.ask("GET", link(gate), **NAVIGATES)).status == 429
    assert gate.room.calls == []


async def test_while_the_store_is_away_the_link_keeps_its_use(gate):
    gate.room.up = False
    reply = await gate.ask("GET", link(gate), **NAVIGATES)
    assert (reply.status, int(reply["retry-after"]) >= 1) == (503, True)
    assert not reply.all("set-cookie")


@pytest.mark.parametrize("to", ["https://evil.test/", "//evil.test", "/\\evil.test", "", "/__gate/x"])
async def test_the_link_leads_to_this_host_only(gate, to):
    reply = await gate.ask("GET", link(gate, to=to), **NAVIGATES)
    assert reply["location"] == "/"
