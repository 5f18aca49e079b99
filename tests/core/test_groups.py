"""Priority groups, on the pure ledger: everybody's share of the rate while all wait, and nothing unused."""

import random
from dataclasses import replace

import pytest

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms, group_turn, tag_of

NOTHING = Remembered()
NOW = 10**15


class Sale:
    """``common`` in line, and members of groups; everybody present looks every two to three seconds."""

    def __init__(self, groups, rate=10, seed=1):
        self.terms = Terms(rate, 1, burst=rate, groups=groups)
        self.rng, self.now = random.Random(seed), NOW
        self.ledger = Ledger()
        self.ledger.tick(NOW, self.terms, NOTHING)
        self.ledger.bucket.level = 0
        self.waiting: dict[str, tuple[Ticket, int]] = {}
        self.entered: list[tuple[float, str]] = []

    def join(self, count, present=1.0):
        first, epoch = self.ledger.lease(self.now, self.terms, NOTHING, count)
        for number in range(first, first + count):
            if self.rng.random() < present:
                self._comes(Ticket("r", epoch, number, 0, f"common {number}"))

    def invite(self, group, count, present=1.0):
        for k in range(count):
            id_ = f"{group} {len(self.waiting)} {k}"
            place = self.ledger.invite(self.now, self.terms, NOTHING, id_, tag_of(group), group, 0)
            assert isinstance(place, tuple)
            if self.rng.random() < present:
                self._comes(Ticket("r", place[1], place[0], 0, id_))

    def _comes(self, ticket):
        self.waiting[ticket.id] = ticket, self.now + self.rng.randrange(3 * SECOND)

    def _called(self, ticket):
        if ticket.id.startswith("common"):
            return ticket.number <= self.ledger.serving
        tag, turn = group_turn(ticket.number)
        group = self.ledger.groups.of(tag)
        return group is None or turn <= group.serving or turn > group.last

    def run(self, seconds):
        end = self.now + seconds * SECOND
        while self.now < end:
            self.now += SECOND // 4
            self.ledger.tick(self.now, self.terms, NOTHING)
            for id_, (ticket, look) in list(self.waiting.items()):
                if look > self.now:
                    continue
                again = self.now + self.rng.randrange(2 * SECOND, 3 * SECOND)
                if self._called(ticket):
                    word = self.ledger.claim(self.now, self.terms, NOTHING, ticket)
                    if word.status == "entered":
                        self.entered.append(((self.now - NOW) / SECOND, id_))
                        del self.waiting[id_]
                        continue
                    again = self.now + max(SECOND // 2, min(word.due, word.ask))
                elif ticket.id.startswith("common"):
                    self.ledger.present(self.now, self.terms, NOTHING, [ticket.number])
                self.waiting[id_] = ticket, again
        return self

    def shares(self, begin, end):
        within = [who.split()[0] for at, who in self.entered if begin <= at < end]
        return {name: within.count(name) / len(within) for name in set(within)}


@pytest.mark.parametrize("present", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_a_group_gets_its_share_and_the_common_line_the_rest(share, present):
    sale = Sale((("members", share),))
    sale.join(int(700 / present), present)
    sale.invite("members", 500)
    sale.run(60)
    assert sale.shares(15, 60)["members"] == pytest.approx(share, abs=0.05)
    assert len([at for at, _ in sale.entered if 15 <= at < 60]) >= 0.95 * 45 * 10


@pytest.mark.parametrize("present", [0.5, 0.1])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_where_only_members_wait_the_rate_is_used_though_many_of_them_are_gone(share, present):
    sale = Sale((("members", share),))
    sale.invite("members", int(550 / present), present)
    sale.run(45)
    within = [[at for at, _ in sale.entered if begin <= at < begin + 10] for begin in (0, 10, 20, 30)]
    assert len(within[0]) >= 70, "their share is not known yet"
    assert min(len(each) for each in within[1:]) >= 95


def test_a_group_gets_its_share_though_nine_of_ten_members_are_gone():
    sale = Sale((("members", 0.5),))
    sale.join(700)
    sale.invite("members", 5000, 0.1)
    sale.run(60)
    assert sale.shares(15, 60)["members"] == pytest.approx(0.5, abs=0.05)
    assert len([at for at, _ in sale.entered if 15 <= at < 60]) >= 0.95 * 45 * 10


def test_members_who_come_again_after_they_were_taken_to_be_gone_are_counted_on_soon():
    sale = Sale((("members", 0.5),))
    sale.invite("members", 2000, 0.05)
    sale.run(30)
    group = sale.ledger.groups.of(tag_of("members"))
    assert group is not None
    assert group.share(sale.ledger.t) < 0.15
    sale.invite("members", 1000)
    sale.run(60)
    assert group.share(sale.ledger.t) > 0.8


def test_several_groups_get_theirs():
    sale = Sale((("first", 0.3), ("second", 0.2)))
    sale.join(700)
    sale.invite("first", 400)
    sale.invite("second", 400)
    found = sale.run(60).shares(10, 60)
    assert found["first"] == pytest.approx(0.3, abs=0.05)
    assert found["second"] == pytest.approx(0.2, abs=0.05)
    assert found["common"] == pytest.approx(0.5, abs=0.05)


def test_what_a_group_does_not_use_goes_to_the_others():
    sale = Sale((("members", 0.5),))
    sale.join(700)
    sale.run(20)
    sale.invite("members", 20)
    sale.run(30)
    assert len([at for at, _ in sale.entered if 5 <= at < 50]) >= 0.95 * 45 * 10
    assert len([who for _, who in sale.entered if who.startswith("members")]) == 20


def test_where_only_members_wait_they_have_the_whole_rate_and_newcomers_get_in_between():
    sale = Sale((("members", 0.25),))
    sale.invite("members", 600)
    sale.run(20)
    assert len([at for at, _ in sale.entered if 5 <= at < 20]) >= 0.95 * 15 * 10
    sale.join(400)
    sale.run(40)
    assert sale.shares(32, 60)["common"] == pytest.approx(0.75, abs=0.05)


def test_members_come_in_the_order_of_their_turns():
    sale = Sale((("members", 0.3),))
    sale.join(300)
    sale.invite("members", 100)
    sale.run(50)
    order = [int(who.split()[2]) for _, who in sale.entered if who.startswith("members")]
    assert len(order) == 100
    assert max(abs(position - turn) for position, turn in enumerate(order)) <= 12


def test_an_invitation_has_so_many_uses_and_one_ticket_needs_one():
    ledger, terms = Ledger(), Terms(1, 1, groups=(("members", 0.3),))
    tag = tag_of("members")

    def invite(id_):
        return ledger.invite(NOW, terms, NOTHING, id_, tag, "spring", 2)

    first = invite("a")
    assert invite("a") == first
    second = invite("b")
    assert second not in (first, "used-up")
    assert invite("c") == "used-up"
    assert invite("b") == second
    assert isinstance(first, tuple)
    assert ledger.claim(NOW, terms, NOTHING, Ticket("r", first[1], first[0], 0, "a")).status == "entered"
    ledger.release(NOW, terms, NOTHING, "a")
    assert invite("a") == "spent"


def test_a_turn_takes_the_place_of_a_common_number_also_of_one_that_the_ticket_was_moved_to():
    ledger, terms = Ledger(), Terms(100, 1, groups=(("members", 0.3),))
    first, epoch = ledger.lease(NOW, terms, NOTHING, 3)
    ledger.moved["a"] = epoch, first + 1
    place = ledger.invite(NOW, terms, NOTHING, "a", tag_of("members"), "spring", 0, (epoch, first))
    assert isinstance(place, tuple)
    assert ledger.invite(NOW, terms, NOTHING, "a", tag_of("members"), "spring", 0, (epoch, first)) == place, "a double click"
    for number in (first, first + 1):
        later = NOW + number * SECOND
        assert ledger.claim(later, terms, NOTHING, Ticket("r", epoch, number, 0, "a")).status == "spent"
    member = Ticket("r", place[1], place[0], 0, "a")
    assert ledger.claim(NOW + 5 * SECOND, terms, NOTHING, member).status == "entered"
    assert ledger.claim(NOW + 6 * SECOND, terms, NOTHING, Ticket("r", epoch, first + 2, 0, "b")).status == "entered"
    assert ledger.invite(NOW + 7 * SECOND, terms, NOTHING, "b", tag_of("members"), "x", 0, (epoch, first + 2)) == "spent"


@pytest.mark.parametrize("second", ["members", "staff"])
def test_another_link_is_another_turn_and_holds_nobody_up(second):
    shares = (("members", 0.3), ("staff", 0.1))
    ledger, slow = Ledger(), Terms(1, 3600, groups=shares)
    for k in range(40):
        ledger.invite(NOW, slow, NOTHING, f"m{k}", tag_of("members"), "spring", 0)
    group = ledger.groups.of(tag_of("members"))
    assert group is not None
    again, before = next(iter(group.invited)), group.serving
    ledger.invite(NOW, slow, NOTHING, again, tag_of(second), "summer", 0)
    assert sum(again in each.invited for each in ledger.groups.known) <= 1
    ledger.tick(NOW + SECOND, Terms(2, 1, groups=shares), NOTHING)
    assert group.serving > before + 5
    assert len(group.called) == group.serving - 1, "each of these turns, but for the one that was replaced"
    assert again not in group.called


def test_an_epoch_that_turns_calls_nobody_and_a_turn_that_was_forgotten_is_called():
    ledger, terms = Ledger(), Terms(1, 3600, groups=(("members", 0.3),))
    ledger.tick(NOW, terms, NOTHING)
    ledger.lease(NOW, terms, NOTHING, 1000)
    tag = tag_of("members")
    places = [ledger.invite(NOW, terms, NOTHING, f"m{k}", tag, "spring", 0) for k in range(200)]
    number, epoch = places[-1]
    ahead = replace(ledger.remembered(), last=1001)  # a number whose lease the store has lost
    ledger.tick(NOW + SECOND, terms, ahead)
    assert ledger.epoch > epoch
    ledger.claim(NOW + SECOND, terms, NOTHING, Ticket("r", epoch, number, 0, "m199"))
    assert not ledger._door
    ledger.claim(NOW + SECOND, terms, NOTHING, Ticket("r", epoch, number + 1024, 0, "m200"))
    assert [id_ for _, id_ in ledger._door] == ["m200"]


def test_a_group_has_its_share_after_the_store_has_lost_everything():
    sale = Sale((("members", 0.3),))
    sale.join(900)
    sale.invite("members", 500)
    sale.run(20)
    known, lost = sale.ledger.remembered(), Ledger()
    lost.tick(sale.now, sale.terms, known)
    sale.ledger = lost
    sale.run(60)
    assert sale.shares(30, 80)["members"] == pytest.approx(0.3, abs=0.05)
    assert len([at for at, _ in sale.entered if 30 <= at < 80]) >= 0.95 * 50 * 10
    before = {who for who in sale.waiting if who.startswith("members")}
    sale.invite("members", 20)
    sale.run(100)
    order = [who for _, who in sale.entered if who.startswith("members")]
    assert before
    assert max(order.index(who) for who in before) < len(order) - 20, "who was invited later comes later"


def test_of_a_member_whom_the_store_forgot_only_one_of_a_group_that_is_gone_stands_in_front():
    terms = Terms(1, 1, groups=(("members", 0.3),))
    old = Ledger()
    old.tick(NOW, terms, NOTHING)
    old.lease(NOW, terms, NOTHING, 1000)
    number, epoch = old.invite(NOW, terms, NOTHING, "a", tag_of("members"), "spring", 0)
    for groups, in_front in (((("members", 0.3),), False), ((("staff", 0.3),), True)):
        new, now = Ledger(), replace(terms, groups=groups)
        new.tick(NOW, now, old.remembered())
        assert new.claim(NOW, now, old.remembered(), Ticket("r", epoch, number, 0, "a")).status == "waiting"
        ((place, id_),) = new._door
        assert id_ == "a"
        assert (place < 1) == in_front
