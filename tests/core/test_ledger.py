"""The laws of admission, on the pure ledger."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import GRACE, LEAD, SEAT_SLACK, Ledger
from gate.core.line import Remembered, Terms, away_number
from gate.core.words import Reason, RoomMode
from tests.core.crowd import Crowd

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
        assert (word.due, word.ask, word.reason) == (SECOND, SECOND - LEAD, Reason.RATE)
        assert ledger.serving == 2
        assert ledger.claim(NOW + SECOND, terms, NOTHING, ticket(word, "b")).status == "entered"

    def test_a_newcomer_does_not_take_the_token_of_one_who_is_expected(self):
        ledger, terms = Ledger(), Terms(4, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        expected = ledger.enter(NOW, terms, NOTHING, "b")
        due = NOW + expected.due
        assert ledger.enter(due, terms, NOTHING, "c").status == "waiting"
        assert ledger.claim(due, terms, NOTHING, ticket(expected, "b")).status == "entered"

    def test_one_who_does_not_come_is_expected_for_a_moment_only(self):
        ledger, terms = Ledger(), Terms(4, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        ledger.enter(NOW, terms, NOTHING, "gone")
        assert ledger.enter(NOW + SECOND, terms, NOTHING, "c").status == "entered"


class TestOneTicketOnePass:
    def test_the_same_ticket_gets_the_same_answer_and_pays_once(self):
        ledger, terms = Ledger(), Terms(1, 60, burst=5)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        again = [ledger.claim(NOW + k, terms, NOTHING, ticket(word, "a")) for k in range(50)]
        assert {(each.status, each.expires) for each in again} == {("entered", word.expires)}
        assert ledger.bucket.tokens == pytest.approx(4, abs=1e-4)

    def test_a_ticket_is_spent_when_its_pass_is_over(self):
        ledger, terms = Ledger(), Terms(1, 1, session=10)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        later = NOW + 10 * SECOND
        assert ledger.claim(later - 1, terms, NOTHING, ticket(word, "a")).status == "entered"
        assert ledger.claim(later, terms, NOTHING, ticket(word, "a")).status == "spent"
        assert ledger.claim(later + 10**12, terms, NOTHING, ticket(word, "a")).status == "spent"

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
        ledger.serving = ledger.last
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

    def test_one_who_does_not_come_back_blocks_nobody_for_longer_than_the_grace(self):
        terms = Terms(1, 1)
        ledger, (absent, present) = self.standing(terms, 2)
        word = ledger.claim(NOW, terms, NOTHING, absent)
        ledger.claim(NOW, terms, NOTHING, present)
        over = NOW + word.ask + GRACE
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


class TestLoss:
    def test_a_room_that_nobody_remembers_starts_full(self):
        ledger = Ledger()
        state = ledger.tick(NOW, Terms(1, 1, burst=7), NOTHING)
        assert (state.tokens, state.epoch) == (7, 1)

    def test_a_lost_bucket_comes_back_empty_and_numbers_go_on(self):
        state = Ledger().tick(NOW, Terms(1, 1, burst=7, mode=RoomMode.HOLD), Remembered(3, 500, 420, 9, "x"))
        assert (state.tokens, state.epoch, state.last, state.serving) == (0, 4, 500, 420)

    def test_seats_of_before_are_kept_free_until_they_are_over(self):
        ledger, terms = Ledger(), Terms(10, 1, burst=10, active=4, session=60)
        ledger.tick(NOW, terms, Remembered(1, 0, 0, 3, "x"))
        known = ledger.remembered()
        later = NOW + 10 * SECOND
        assert ledger.enter(later, terms, known, "a").status == "entered"
        assert ledger.enter(later, terms, known, "b").status == "waiting"
        assert ledger.renew(later, terms, known, "one from before") > 0
        assert ledger.tick(later, terms, known).inside == 4
        assert ledger.tick(NOW + 60 * SECOND, terms, known).inside == 2

    def test_a_store_that_fell_behind_starts_a_new_epoch(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=5)
        ledger.lease(NOW, terms, NOTHING, 10)
        known = Remembered(1, 15, 0, 0, str(ledger.birth))
        assert ledger.lease(NOW, terms, known, 1) == (16, 2)
        assert ledger.bucket.tokens == 0

    def test_a_line_that_a_forgetful_gate_began_anew_is_noticed(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=5)
        ledger.enter(NOW, terms, NOTHING, "a")
        state = ledger.tick(NOW, terms, Remembered(1, 0, 0, 0, "another birth"))
        assert (state.epoch, state.tokens) == (2, 0)
        assert ledger.tick(NOW, terms, ledger.remembered()).epoch == 2

    def test_waiting_tickets_keep_their_order(self):
        old, terms = Ledger(), Terms(1, 1)
        old.tick(NOW, terms, NOTHING)
        first, epoch = old.lease(NOW, terms, NOTHING, 3)
        tickets = [Ticket("r", epoch, first + k, 0, f"v{k}") for k in range(3)]
        new, known = Ledger(), old.remembered()
        new.tick(NOW, terms, known)
        known = new.remembered()
        newcomer, epoch = new.lease(NOW, terms, known, 1)
        assert (newcomer, epoch) == (4, 2)
        tickets.append(Ticket("r", epoch, newcomer, 0, "new"))
        for each in reversed(tickets):
            new.claim(NOW, terms, known, each)
        assert [who for _, who in new._door] == ["v0", "v1", "v2", "new"]

    def test_tickets_given_without_the_store_stand_behind_numbers_and_before_newcomers(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.tick(NOW, terms, NOTHING)
        first, epoch = ledger.lease(NOW, terms, NOTHING, 2)
        away = [Ticket("r", epoch, away_number(1.8e9 + k), 0, f"away{k}") for k in range(2)]
        known = Remembered(1, 2, 2, 0, str(ledger.birth), least=2)
        newcomer, later = ledger.lease(NOW, terms, known, 1)
        assert later == 2
        mine = [Ticket("r", epoch, first, 0, "one"), Ticket("r", epoch, first + 1, 0, "two"), *away]
        mine.append(Ticket("r", later, newcomer, 0, "new"))
        ledger.bucket.level = 0
        for each in reversed(mine):
            ledger.claim(NOW, terms, known, each)
        assert [who for _, who in ledger._door] == ["one", "two", "away0", "away1", "new"]

    def test_the_epoch_does_not_turn_twice_for_one_outage(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.lease(NOW, terms, NOTHING, 5)
        for _ in range(3):
            assert ledger.tick(NOW, terms, Remembered(1, 5, 0, 0, str(ledger.birth), least=2)).epoch == 2


class TestClock:
    def test_a_jump_ahead_gives_one_burst(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=3)
        for k in range(3):
            ledger.enter(NOW, terms, NOTHING, f"a{k}")
        assert ledger.tick(NOW + 10**13, terms, NOTHING).tokens == 3

    def test_a_jump_back_does_not_stop_admission(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        back = NOW - 3600 * SECOND
        assert ledger.tick(back, terms, NOTHING).tokens == 0
        assert ledger.tick(back + SECOND, terms, NOTHING).tokens == 1

    def test_a_pass_given_after_a_jump_back_expires_by_the_clock_of_the_gates(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=3, session=60)
        ledger.tick(NOW, terms, NOTHING)
        back = NOW - 3600 * SECOND
        word = ledger.enter(back, terms, NOTHING, "a")
        assert word.expires == back + 60 * SECOND
        assert ledger.claim(back, terms, NOTHING, ticket(word, "a")).expires == word.expires
        assert ledger.renew(back + SECOND, terms, NOTHING, "a") == back + 61 * SECOND


CROWDS = {
    "a flash sale": Crowd(Terms(120, 60, 20), 800, ghosts=0.5),
    "nine of ten never come back": Crowd(Terms(120, 60, 20), 2000, ghosts=0.9),
    "a faster room, slower looks": Crowd(Terms(10, 1, 10), 6000, ghosts=0.9, poll=(2, 4)),
    "nearly all ghosts": Crowd(Terms(600, 60, 10), 6000, ghosts=0.97),
    "one in fifty gives up at every knock": Crowd(Terms(10, 1, 10), 1500, ghosts=0.5, leave=0.02),
    "the smallest burst": Crowd(Terms(120, 60, 1), 1000, ghosts=0.9),
    "a slow room": Crowd(Terms(6, 60, 1), 200, ghosts=0.9),
}


@pytest.mark.parametrize("name", CROWDS)
def test_a_crowd_is_let_in_at_the_rate_and_in_order(name):
    crowd = CROWDS[name].run(900 if name == "a slow room" else 90)
    assert len(crowd.admitted) > 10
    assert crowd.excess <= 0
    assert crowd.used(60 if name == "a slow room" else 10) >= (0.9 if crowd.leave else 0.95)
    poll = crowd.poll[1] + 0.5  # seconds between two looks, and the status may be one tick old
    assert crowd.overtaken <= crowd.terms.burst + crowd.terms.per_second * poll


def test_a_full_room_lets_in_as_many_as_leave():
    crowd = Crowd(Terms(10, 1, 10, active=20, session=10), 600).run(90)
    assert crowd.most_inside == 20
    assert crowd.excess <= 0
    assert len(crowd.admitted) > 20 * 90 / (10 + 2 + 3)  # a session, its slack, and a look in between


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    ghosts=st.floats(0, 0.97),
    leave=st.floats(0, 0.2),
    amount=st.integers(1, 60),
    burst=st.integers(1, 30),
    active=st.sampled_from([None, 3, 30]),
)
def test_no_crowd_gets_more_than_the_bucket_gives(seed, ghosts, leave, amount, burst, active):
    terms = Terms(amount, 10, burst, active=active, session=10)
    crowd = Crowd(terms, 150, ghosts=ghosts, leave=leave, seed=seed).run(40)
    assert crowd.excess <= 0
    assert len({who for _, who in crowd.admitted}) == len(crowd.admitted)
    assert active is None or crowd.most_inside <= active
