"""The laws of admission, on the pure ledger."""

import pytest

from gate.core.bucket import SECOND
from gate.core.calls import Calls
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger, told
from gate.core.line import Remembered, Terms, away_number
from gate.core.room import GRACE, PATIENCE, SEAT_SLACK
from gate.core.words import Reason, RoomMode

NOTHING = Remembered()
NOW = 10**15


def ticket(word, id_):
    return Ticket("r", word.epoch, word.number, 0, id_)


class TestNobodyWaits:
    def test_a_newcomer_enters_while_there_are_tokens(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=2)
        words = [ledger.enter(NOW, terms, NOTHING, id_) for id_ in "abc"]
        assert [word.status for word in words] == ["entered", "entered", "waiting"]
        assert [word.number for word in words] == [1, 2, 3]
        assert words[0].expires == NOW + 600 * SECOND

    def test_the_one_who_waits_is_called_and_told_when(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        word = ledger.enter(NOW, terms, NOTHING, "b")
        assert (word.due, word.ask, word.reason) == (SECOND, SECOND, Reason.RATE)
        assert (ledger.serving, ledger.ready) == (2, 1)
        assert ledger.claim(NOW + SECOND, terms, NOTHING, ticket(word, "b")).status == "entered"

    def test_a_newcomer_does_not_take_the_token_of_one_who_is_expected(self):
        ledger, terms = Ledger(), Terms(4, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        expected = ledger.enter(NOW, terms, NOTHING, "b")
        due = NOW + expected.due
        assert ledger.enter(due, terms, NOTHING, "c").status == "waiting"
        assert ledger.claim(due, terms, NOTHING, ticket(expected, "b")).status == "entered"

    def test_nor_any_token_before_those_who_came_first_and_may_still_come(self):
        terms = Terms(60, 60, burst=3)
        ledger = Ledger()
        for id_ in "abc":
            ledger.enter(NOW, terms, NOTHING, id_)
        early = [ledger.enter(NOW + k * SECOND // 10, terms, NOTHING, f"early {k}") for k in range(5)]
        assert [word.status for word in early] == ["waiting"] * 5
        later = NOW + 3 * SECOND  # three tokens are there, and all five are due back by now or later
        assert ledger.enter(later, terms, NOTHING, "late").status == "waiting"
        back = [ledger.claim(later, terms, NOTHING, ticket(word, f"early {k}")) for k, word in enumerate(early)]
        assert [word.status for word in back] == ["entered"] * 3 + ["waiting"] * 2

    @pytest.mark.parametrize(("burst", "patience"), [(1, PATIENCE), (5, GRACE)])
    def test_one_who_does_not_come_is_expected_for_a_moment_only(self, burst, patience):
        def newcomer_after(seconds):
            ledger, terms = Ledger(), Terms(1, 1, burst)
            for k in range(burst):
                ledger.enter(NOW, terms, NOTHING, f"in {k}")
            gone = ledger.enter(NOW, terms, NOTHING, "gone")
            return ledger.enter(NOW + gone.ask + seconds, terms, NOTHING, "new").status

        assert newcomer_after(patience) == "waiting"
        assert newcomer_after(patience + 1) == "entered"

    def test_one_who_is_called_and_has_not_heard_of_it_yet_is_not_passed_by(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=5)
        ledger.lease(NOW, terms, NOTHING, 2)
        assert ledger.serving == 2
        assert ledger.enter(NOW + 5 * SECOND, terms, NOTHING, "new").status == "waiting"
        alone = Ledger()
        alone.lease(NOW, terms, NOTHING, 2)
        assert alone.enter(NOW + 6 * SECOND, terms, NOTHING, "new").status == "entered"

    def test_the_same_call_again_is_the_same_place(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        first = ledger.enter(NOW, terms, NOTHING, "b")
        ledger.enter(NOW, terms, NOTHING, "c")
        assert ledger.enter(NOW, terms, NOTHING, "b").number == first.number
        assert (ledger.last, ledger.ready) == (3, 2)


def test_whoever_is_told_a_time_can_keep_it_in_whole_seconds():
    for due in range(1, 120 * SECOND, 77_777):
        ask = told(due)
        assert ask % SECOND == 0
        assert SECOND <= ask <= 20 * SECOND
        assert ask <= max(SECOND, due - SECOND // 2)


def test_the_longer_the_door_the_seldomer_those_at_its_end_knock():
    for ready in (3000, 12_000, 50_000):
        dues = [place * SECOND // 10 for place in range(1, ready)]
        asks = [told(due, ready) for due in dues]
        assert sum(SECOND / ask for ask in asks) < 450, "claims a second"
        for due, ask in zip(dues, asks, strict=True):
            assert ask == told(due) or (due > 80 * SECOND and 20 * SECOND <= ask <= due / 4)


class TestWaiting:
    """`waiting` is how many are in line; `through` how many are not any more."""

    def test_those_called_are_in_line_until_they_must_have_heard_of_it(self):
        ledger, terms = Ledger(), Terms(12, 60, burst=3)
        for k in range(3):
            ledger.enter(NOW, terms, NOTHING, str(k))
        ledger.lease(NOW, terms, NOTHING, 27)
        state = ledger.tick(NOW + SECOND, terms, NOTHING)
        assert (state.waiting, state.through, state.last) == (27, 3, 30)
        assert state.serving < 30
        later = [ledger.tick(NOW + second * SECOND, terms, NOTHING) for second in range(5, 600, 2)]
        waiting = [each.waiting for each in later]
        assert waiting == sorted(waiting, reverse=True)
        assert waiting[-1] == 0

    def test_one_who_comes_late_takes_nobody_a_place_back(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        first, epoch = ledger.lease(NOW, terms, NOTHING, 40)
        before = ledger.tick(NOW + 60 * SECOND, terms, NOTHING)
        ledger.bucket.level = 0
        ledger.claim(NOW + 60 * SECOND, terms, NOTHING, Ticket("r", epoch, first, 0, "late"))
        after = ledger.state()
        assert after.ready == 1
        assert after.through >= before.through
        assert after.waiting == before.waiting + 1


class TestOneTicketOnePass:
    def test_the_same_ticket_gets_the_same_answer_and_pays_once(self):
        ledger, terms = Ledger(), Terms(1, 60, burst=5)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        again = [ledger.claim(NOW + k, terms, NOTHING, ticket(word, "a")) for k in range(50)]
        assert {(each.status, each.expires) for each in again} == {("entered", word.expires)}
        assert ledger.bucket.tokens == pytest.approx(4, abs=1e-4)

    def test_a_ticket_is_spent_when_its_pass_is_over(self):
        ledger, terms = Ledger(), Terms(1, 1, session=60)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        later = NOW + 60 * SECOND
        assert ledger.claim(later - 1, terms, NOTHING, ticket(word, "a")).status == "entered"
        assert ledger.claim(later, terms, NOTHING, ticket(word, "a")).status == "spent"
        assert ledger.claim(later + 10**12, terms, NOTHING, ticket(word, "a")).status == "spent"

    def test_who_asks_again_while_others_wait_for_a_seat_gives_none_of_them_one(self):
        """The answer may have come: then the pass is in use, and the seat is not free, whoever stands at the door before."""
        ledger, terms = Ledger(), Terms(1, 1, burst=5, active=1)
        first, epoch = ledger.lease(NOW, terms, NOTHING, 20)
        tickets = [Ticket("r", epoch, first + k, 0, str(k)) for k in range(20)]
        now = NOW + 30 * SECOND  # all are called, the bucket is full
        passes = {19: ledger.claim(now, terms, NOTHING, tickets[19])}
        assert passes[19].status == "entered"
        for k in reversed(range(19)):
            for asks, after in ((k, 3 * SECOND), (k + 1, SECOND), (k, SECOND // 2)):
                now += after
                word = ledger.claim(now, terms, NOTHING, tickets[asks])
                if word.status == "entered":
                    passes[asks] = word
        assert list(passes) == [19]
        assert list(ledger.seats) == ["19"]

    def test_a_released_pass_is_not_given_again(self):
        ledger, terms = Ledger(), Terms(10, 1, burst=5)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        assert ledger.release(NOW, terms, NOTHING, "a")
        assert not ledger.release(NOW, terms, NOTHING, "a")
        assert ledger.claim(NOW, terms, NOTHING, ticket(word, "a")).status == "spent"
        assert ledger.renew(NOW, terms, NOTHING, "a") == 0
        assert ledger.tick(NOW, terms, NOTHING).revoked == {"a"}

    def test_a_revocation_is_kept_as_long_as_the_pass_could_live(self):
        ledger, terms = Ledger(), Terms(10, 1, session=100)
        ledger.enter(NOW, terms, NOTHING, "a")
        ledger.release(NOW, terms, NOTHING, "a")
        shorter = Terms(10, 1, session=10)
        assert ledger.tick(NOW + 101 * SECOND, shorter, NOTHING).revoked == {"a"}
        assert ledger.tick(NOW + 161 * SECOND, shorter, NOTHING).revoked == set()

    def test_one_given_without_the_store_is_spent_too(self):
        ledger, terms = Ledger(), Terms(1, 1, session=10)
        ledger.tick(NOW, terms, NOTHING)
        mine = Ticket("r", 1, away_number(1.8e9), 0, "a")
        memory = Remembered(1, 0, 0, 0, str(ledger.birth), least=2)
        assert ledger.claim(NOW, terms, memory, mine).status == "entered"
        assert ledger.claim(NOW + 20 * SECOND, terms, memory, mine).status == "spent"


class TestOrder:
    def standing(self, terms, count):
        """``count`` numbers, all called, nobody at the door, no token left."""
        ledger = Ledger()
        ledger.tick(NOW, terms, NOTHING)
        ledger.bucket.level = 0
        first, epoch = ledger.lease(NOW, terms, NOTHING, count)
        ledger.serving, ledger.calls = ledger.last, Calls()
        return ledger, [Ticket("r", epoch, first + k, 0, f"v{k}") for k in range(count)]

    def test_the_lowest_number_at_the_door_takes_the_token(self):
        ledger, tickets = self.standing(Terms(1, 1, burst=3), 5)
        terms = Terms(1, 1, burst=3)
        for each in reversed(tickets):
            assert ledger.claim(NOW, terms, NOTHING, each).status == "waiting"
        later = NOW + SECOND - 1 + 1
        assert ledger.claim(later, terms, NOTHING, tickets[3]).status == "waiting"
        assert ledger.claim(later, terms, NOTHING, tickets[0]).status == "entered"

    def test_everyone_is_told_when_its_own_token_is_due(self):
        ledger, tickets = self.standing(Terms(1, 1, burst=3), 4)
        words = [ledger.claim(NOW, Terms(1, 1, burst=3), NOTHING, each) for each in tickets]
        assert [word.due for word in words] == [SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND]

    @pytest.mark.parametrize(("burst", "patience"), [(1, PATIENCE), (9, GRACE)])
    def test_one_who_does_not_come_back_blocks_nobody_for_longer_than_the_grace(self, burst, patience):
        terms = Terms(1, 1, burst)
        ledger, (absent, present) = self.standing(terms, 2)
        word = ledger.claim(NOW, terms, NOTHING, absent)
        ledger.claim(NOW, terms, NOTHING, present)
        over = NOW + word.ask + patience
        if burst > 1:
            ledger.bucket.level = 0
            ledger.tick(over - SECOND, terms, NOTHING)
            ledger.bucket.level = 0  # one token by then: it is kept, and nothing is lost by that
        blocked = ledger.claim(over, terms, NOTHING, present)
        assert (blocked.status, blocked.due) == ("waiting", 1)
        assert ledger.claim(over + 1, terms, NOTHING, present).status == "entered"

    def test_and_takes_the_next_token_when_it_does(self):
        terms = Terms(1, 1)
        ledger, (late, present, other) = self.standing(terms, 3)
        for each in (late, present, other):
            ledger.claim(NOW, terms, NOTHING, each)
        ledger.claim(NOW + 2 * SECOND, terms, NOTHING, present)
        ledger.claim(NOW + 2 * SECOND, terms, NOTHING, other)
        back = NOW + 2 * SECOND + 1
        assert ledger.claim(back, terms, NOTHING, late).status == "waiting"
        assert ledger.claim(NOW + 3 * SECOND, terms, NOTHING, other).status == "waiting"
        assert ledger.claim(NOW + 3 * SECOND, terms, NOTHING, late).status == "entered"

    def test_who_was_not_called_is_not_let_in_past_the_line(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.tick(NOW, terms, NOTHING)
        first, epoch = ledger.lease(NOW, terms, NOTHING, 1000)
        word = ledger.claim(NOW, terms, NOTHING, Ticket("r", epoch, first + 900, 0, "x"))
        assert (word.status, word.reason) == ("waiting", Reason.LINE)
        assert ledger.ready == 0


class TestActive:
    def test_no_more_than_the_cap_are_inside(self):
        ledger, terms = Ledger(), Terms(100, 1, burst=50, active=3, session=10)
        words = [ledger.enter(NOW, terms, NOTHING, str(k)) for k in range(6)]
        assert [word.status for word in words].count("entered") == 3
        assert words[-1].reason in (Reason.ACTIVE, Reason.LINE)
        word = ledger.claim(NOW + SECOND, terms, NOTHING, ticket(words[3], "3"))
        assert (word.status, word.reason) == ("waiting", Reason.ACTIVE)
        ledger.release(NOW + SECOND, terms, NOTHING, "0")
        assert ledger.claim(NOW + SECOND, terms, NOTHING, ticket(words[3], "3")).status == "entered"
        assert ledger.tick(NOW + SECOND, terms, NOTHING).inside == 3

    def test_a_seat_is_free_when_its_pass_and_the_slack_are_over(self):
        ledger, terms = Ledger(), Terms(100, 1, burst=50, active=1, session=10)
        ledger.enter(NOW, terms, NOTHING, "a")
        word = ledger.enter(NOW, terms, NOTHING, "b")
        over = NOW + 10 * SECOND + SEAT_SLACK
        assert ledger.claim(over, terms, NOTHING, ticket(word, "b")).status == "waiting"
        assert ledger.claim(over + 1, terms, NOTHING, ticket(word, "b")).status == "entered"

    def test_renewing_keeps_the_seat(self):
        ledger, terms = Ledger(), Terms(100, 1, burst=50, active=1, session=10)
        ledger.enter(NOW, terms, NOTHING, "a")
        assert ledger.renew(NOW + 8 * SECOND, terms, NOTHING, "a") == NOW + 18 * SECOND
        assert ledger.enter(NOW + 15 * SECOND, terms, NOTHING, "b").status == "waiting"

    def test_an_unknown_seat_is_added_again(self):
        ledger, terms = Ledger(), Terms(100, 1, active=5)
        assert ledger.renew(NOW, terms, NOTHING, "from before the store was lost") == NOW + 600 * SECOND
        assert ledger.tick(NOW, terms, NOTHING).inside == 1


class TestModes:
    @pytest.mark.parametrize(("mode", "reason"), [(RoomMode.HOLD, Reason.HOLD), (RoomMode.CLOSED, Reason.ROOM_CLOSED)])
    def test_nobody_is_called_and_no_token_given(self, mode, reason):
        ledger, terms = Ledger(), Terms(10, 1, burst=10, mode=mode)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        assert (word.status, word.reason) == ("waiting", reason)
        assert ledger.tick(NOW + SECOND, terms, NOTHING).serving == 0
        assert ledger.claim(NOW + SECOND, terms, NOTHING, ticket(word, "a")).reason is reason
        assert ledger.bucket.tokens == 10

    def test_the_line_goes_on_in_its_order_after_a_hold(self):
        ledger, hold, go = Ledger(), Terms(1, 1, mode=RoomMode.HOLD), Terms(1, 1)
        words = [ledger.enter(NOW, hold, NOTHING, id_) for id_ in "ab"]
        ledger.tick(NOW + SECOND, go, NOTHING)
        assert ledger.claim(NOW + SECOND, go, NOTHING, ticket(words[0], "a")).status == "entered"
        assert ledger.claim(NOW + SECOND, go, NOTHING, ticket(words[1], "b")).status == "waiting"
