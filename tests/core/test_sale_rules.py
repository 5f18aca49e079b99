"""Opening, closing, the draw, the longest line and the grace, on the pure ledger."""

from dataclasses import replace

import pytest

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.draw import drawn_place
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms
from gate.core.words import Reason, RoomMode

NOTHING = Remembered()
NOW = 10**15
OPENS = NOW / SECOND + 60
SEED = "5e" * 32


def ticket(number, epoch=1):
    return Ticket("r", epoch, number, 0, f"v{number}")


class TestHours:
    def test_nobody_enters_before_the_opening_and_everybody_keeps_the_place(self):
        ledger, terms = Ledger(), Terms(10, 1, burst=10, opens=OPENS)
        words = [ledger.enter(NOW, terms, NOTHING, str(k)) for k in range(3)]
        assert {(word.status, word.reason) for word in words} == {("waiting", Reason.NOT_OPEN)}
        assert ledger.claim(NOW, terms, NOTHING, ticket(1)).reason is Reason.NOT_OPEN
        assert ledger.tick(NOW + 59 * SECOND, terms, NOTHING).serving == 0
        assert ledger.enter(NOW + 58 * SECOND, terms, NOTHING, "late").ask == 2 * SECOND
        opened = NOW + 60 * SECOND
        assert ledger.tick(opened, terms, NOTHING).serving == 4
        assert ledger.claim(opened, terms, NOTHING, ticket(1)).status == "entered"

    def test_nor_from_the_closing_on(self):
        ledger, terms = Ledger(), Terms(10, 1, burst=10, closes=NOW / SECOND + 1)
        assert ledger.enter(NOW, terms, NOTHING, "a").status == "entered"
        closed = NOW + SECOND
        assert ledger.enter(closed, terms, NOTHING, "b").reason is Reason.SALE_OVER
        assert ledger.claim(closed, terms, NOTHING, ticket(2)).reason is Reason.SALE_OVER
        assert ledger.renew(closed, terms, NOTHING, "a") > 0, "who is inside stays inside"


class TestDraw:
    def drawn(self, count=50):
        ledger, terms = Ledger(SEED), Terms(10, 1, burst=10, opens=OPENS, draw=True)
        ledger.lease(NOW, terms, NOTHING, count)
        ledger.tick(NOW + 60 * SECOND, terms, NOTHING)
        return ledger, terms

    def test_who_came_before_is_drawn_once_by_the_seed_there_was_from_the_beginning(self):
        ledger, terms = self.drawn()
        assert (ledger.drawn, ledger.seed) == (50, SEED)
        ledger.offer = "77" * 32
        ledger.lease(NOW + 61 * SECOND, terms, NOTHING, 10)
        assert (ledger.drawn, ledger.seed) == (50, SEED)

    def test_the_door_goes_by_the_draw(self):
        ledger, terms = self.drawn()
        ledger.bucket.level = 0
        later = NOW + 60 * SECOND
        seed = bytes.fromhex(SEED)
        for number in range(1, 51):
            ledger.claim(later, terms, NOTHING, ticket(number), drawn_place(seed, 50, number), 50)
        order = [drawn_place(seed, 50, int(who[1:])) for _, who in ledger._door]
        assert len(order) > 30
        assert order == sorted(order)

    def test_a_gate_that_has_not_heard_of_it_is_told_to_ask_again(self):
        ledger, terms = self.drawn()
        word = ledger.claim(NOW + 60 * SECOND, terms, NOTHING, ticket(1), 1, 0)
        assert (word.status, word.ask) == ("waiting", SECOND)

    def test_it_survives_the_loss_of_the_store(self):
        ledger, terms = self.drawn()
        again = Ledger("77" * 32)
        again.tick(NOW + 70 * SECOND, terms, ledger.remembered())
        assert (again.drawn, again.seed) == (50, SEED)

    def test_and_before_it_the_commitment_does(self):
        ledger, terms = Ledger(SEED), Terms(10, 1, opens=OPENS, draw=True)
        ledger.lease(NOW, terms, NOTHING, 30)
        again = Ledger("77" * 32)
        again.tick(NOW + SECOND, terms, ledger.remembered())
        again.tick(NOW + 60 * SECOND, terms, again.remembered())
        assert (again.drawn, again.seed) == (30, SEED)

    def test_a_forgetful_gate_that_began_anew_does_not_replace_it(self):
        ledger, terms = self.drawn()
        again = Ledger("77" * 32)
        again.lease(NOW + 70 * SECOND, terms, NOTHING, 1)
        again.tick(NOW + 70 * SECOND, terms, ledger.remembered())
        assert (again.drawn, again.seed) == (50, SEED)


class TestMaximum:
    def test_no_more_than_that_stand_in_line(self):
        ledger, terms = Ledger(), Terms(1, 60, burst=1, maximum=5)
        assert ledger.enter(NOW, terms, NOTHING, "in").status == "entered"
        first, _ = ledger.lease(NOW, terms, NOTHING, 3)
        assert (first, ledger.last) == (2, 4)
        ledger.lease(NOW, terms, NOTHING, 20)
        assert ledger.state().waiting == 5
        word = ledger.enter(NOW, terms, NOTHING, "x")
        assert (word.status, word.reason) == ("full", Reason.LINE_FULL)
        assert ledger.last == 6, "and takes no number"

    def test_who_can_enter_at_once_needs_no_line(self):
        ledger, terms = Ledger(), Terms(10, 1, burst=3, maximum=0)
        assert [ledger.enter(NOW, terms, NOTHING, id_).status for id_ in "abcd"] == ["entered"] * 3 + ["full"]


class TestGrace:
    def called(self, grace, count=4):
        """``count`` called, who do not come."""
        ledger, terms = Ledger(), Terms(1, 1, burst=2, grace=grace)
        ledger.lease(NOW, terms, NOTHING, count)
        assert ledger.serving == count
        return ledger, terms

    def wait(self, ledger, terms, start, seconds):
        for second in range(seconds + 1):
            ledger.tick(start + second * SECOND, terms, NOTHING)
        return start + seconds * SECOND

    def test_who_comes_within_it_has_its_place(self):
        ledger, terms = self.called(600.0)
        later = self.wait(ledger, terms, NOW, 550)
        ledger.lease(later, terms, NOTHING, 50)
        assert ledger.claim(later, terms, NOTHING, ticket(1)).status == "entered"

    def test_who_comes_after_it_stands_at_the_end_of_the_line(self):
        ledger, terms = self.called(600.0)
        later = self.wait(ledger, terms, NOW, 640)
        ledger.bucket.level = 0
        ledger.lease(later, terms, NOTHING, 50)
        word = ledger.claim(later, terms, NOTHING, ticket(1))
        assert (word.status, word.number, word.epoch) == ("waiting", 55, 1)
        assert ledger.claim(later, terms, NOTHING, ticket(1)).number == 55, "the answer may have been lost"
        assert ledger.claim(later, terms, NOTHING, ticket(2)).number == 56

    def test_and_the_old_ticket_still_leads_there_after_a_failover(self):
        ledger, terms = self.called(600.0)
        later = self.wait(ledger, terms, NOW, 640)
        ledger.bucket.level = 0
        ledger.lease(later, terms, NOTHING, 50)
        assert ledger.claim(later, terms, NOTHING, ticket(1)).number == 55
        behind = replace(ledger.remembered(), admitted=ledger.admitted + 1)  # some gate has seen more than this store
        assert ledger.tick(later, terms, behind).epoch == 2
        word = ledger.claim(later, terms, behind, ticket(1))
        assert (word.status, word.number) == ("waiting", 55)

    def test_and_enters_once_with_the_old_ticket_or_the_new(self):
        ledger, terms = self.called(60.0)
        later = self.wait(ledger, terms, NOW, 70)
        word = ledger.claim(later, terms, NOTHING, ticket(1))
        assert (word.status, word.number) == ("entered", 5), "nobody is in line"
        new = Ticket("r", 1, word.number, 0, "v1")
        assert ledger.claim(later, terms, NOTHING, new).expires == word.expires
        over = later + 700 * SECOND
        assert ledger.claim(over, terms, NOTHING, new).status == "spent"
        assert ledger.claim(over, terms, NOTHING, ticket(1)).status == "spent"

    def test_who_was_at_the_door_a_moment_ago_keeps_the_place_however_long_it_was_called(self):
        ledger, _ = self.called(60.0)
        full = Terms(1, 1, burst=2, grace=60.0, active=1)
        ledger.renew(NOW, full, NOTHING, "somebody inside")
        for second in range(300):
            word = ledger.claim(NOW + second * SECOND, full, NOTHING, ticket(1))
            assert (word.number, word.reason) == (1, Reason.ACTIVE)
        away = self.wait(ledger, full, NOW + 300 * SECOND, 50)
        assert ledger.ready == 0
        assert ledger.claim(away, full, NOTHING, ticket(1)).number == 1

    def test_time_in_which_nobody_could_enter_does_not_count(self):
        ledger, terms = self.called(60.0)
        hold = Terms(1, 1, burst=2, grace=60.0, mode=RoomMode.HOLD)
        later = self.wait(ledger, hold, NOW, 300)
        ledger.bucket.level = 0
        assert ledger.claim(later, terms, NOTHING, ticket(1)).number == 1

    @pytest.mark.parametrize("grace", [60.0, 3600.0])
    def test_what_is_kept_for_it_is_small(self, grace):
        ledger, terms = Ledger(), Terms(10, 1, burst=2, grace=grace)
        for second in range(0, 8000, 5):
            ledger.lease(NOW + second * SECOND, terms, NOTHING, 20)
        assert len(ledger.reached) <= 32
        assert len(ledger.presence.marks) <= 32
        assert ledger.forfeit > 0


class TestStock:
    def test_what_is_left_is_told_to_everybody_and_survives_a_loss(self):
        ledger, terms = Ledger(), Terms(1, 1)
        assert ledger.tick(NOW, terms, NOTHING).left is None
        ledger.stock(NOW, terms, NOTHING, 0)
        assert ledger.tick(NOW, terms, NOTHING).left == 0
        assert Ledger().tick(NOW, terms, ledger.remembered()).left == 0
