"""The laws of admission, on the pure ledger."""

from copy import deepcopy
from dataclasses import replace

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


class TestLoss:
    def test_a_room_that_nobody_remembers_starts_full(self):
        ledger = Ledger()
        state = ledger.tick(NOW, Terms(1, 1, burst=7), NOTHING)
        assert (state.tokens, state.epoch) == (7, 1)

    def test_a_lost_bucket_comes_back_empty_for_as_long_as_those_at_the_door_need_to_come_back(self):
        ledger, terms, known = Ledger(), Terms(1, 1, burst=7, mode=RoomMode.HOLD), Remembered(3, 500, 420, 9, "x")
        state = ledger.tick(NOW, terms, known)
        assert (state.tokens, state.epoch, state.last, state.serving) == (0, 4, 500, 420)
        assert ledger.tick(NOW + 5 * SECOND, terms, NOTHING).tokens == 1

    def test_the_gate_that_heard_of_most_seats_is_the_one_to_believe(self):
        ledger, terms = Ledger(), Terms(100, 1, burst=10, active=4, session=60)
        ledger.tick(NOW, terms, Remembered(1, 9, 9, 2, "x"))
        assert ledger.tick(NOW + SECOND, terms, Remembered(1, 9, 9, 4, "x")).inside == 4
        assert ledger.tick(NOW + 3 * SECOND, terms, Remembered(1, 9, 9, 99, "x")).inside == 4, "an old word says nothing new"

    @pytest.mark.parametrize(("active", "waits"), [(2, True), (50, False)])
    def test_a_visitor_a_second_late_keeps_its_turn_where_seats_are_scarce_and_tokens_are_not(self, active, waits):
        ledger, terms = Ledger(), Terms(100, 1, burst=10, active=active, session=10)
        number, epoch = ledger.lease(NOW, replace(terms, mode=RoomMode.HOLD), NOTHING, 40)
        tickets = [Ticket("r", epoch, number + k, 0, f"t{k}") for k in range(40)]
        ledger.seats.update({f"s{k}": NOW + 5 * SECOND for k in range(active)})
        words = [ledger.claim(NOW + k, terms, NOTHING, tickets[k]) for k in range(4)]
        assert {word.reason for word in words} == {Reason.ACTIVE}
        freed = NOW + words[0].ask + SECOND  # all of them are a second late; the seats are free, the bucket is full
        ledger.seats.clear()
        late = ledger.claim(freed, terms, NOTHING, tickets[3]).status
        assert (late == "waiting") is waits

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

    def test_a_place_by_time_outlives_two_losses(self):
        """Where its epoch ended is forgotten with the second; it must not fall behind those who came later, again and again."""
        ledger, terms = Ledger(), Terms(1, 1, burst=1)
        ledger.lease(NOW, terms, Remembered(3, 50, 10, 0, "", least=3), 40)
        away = Ticket("r", 1, away_number(NOW / SECOND), 0, "away")
        first, epoch = ledger.lease(NOW + SECOND, terms, NOTHING, 1)
        ledger.serving = first
        later = Ticket("r", epoch, first, 0, "later")
        ledger.bucket.level = 0
        for each in (later, away):
            ledger.claim(NOW + SECOND, terms, NOTHING, each)
        assert [who for _, who in ledger._door] == ["away", "later"]

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

    @pytest.mark.parametrize("jump", [60, 3600, 10**6])
    def test_a_jump_ahead_gives_nothing_when_a_caller_knows_how_long_it_was(self, jump):
        ledger, terms = Ledger(), Terms(1, 1, burst=3)
        for k in range(3):
            ledger.enter(NOW, terms, NOTHING, f"a{k}")
        set_ahead = NOW + jump * SECOND
        quiet = replace(NOTHING, quiet=250_000)
        assert ledger.tick(set_ahead, terms, quiet).tokens == 0.25
        assert ledger.tick(set_ahead + SECOND, terms, replace(NOTHING, quiet=SECOND)).tokens == 1.25
        assert ledger.tick(set_ahead + 2 * SECOND, terms, NOTHING).tokens == 2.25
        assert ledger.seats["a0"] > ledger.t, "nobody's seat is over an hour early"

    def test_what_a_message_takes_is_no_jump(self):
        ledger, terms = Ledger(), Terms(1, 1)
        ledger.enter(NOW, terms, NOTHING, "a")
        assert ledger.tick(NOW + 290_000, terms, replace(NOTHING, quiet=250_000)).tokens == 0.29

    def test_a_pass_whose_answer_was_lost_is_paid_again_when_its_token_has_run_over(self):
        """Its visitor comes to the shop only now: with a full bucket besides, one more than the law allows would come."""
        ledger, terms = Ledger(), Terms(1, 1, burst=2)
        word = ledger.enter(NOW, terms, NOTHING, "a")
        assert ledger.claim(NOW + SECOND // 5, terms, NOTHING, ticket(word, "a")).status == "entered"
        assert ledger.bucket.tokens == 1.2, "on its way: it is the same token"
        later = NOW + 10 * SECOND
        assert ledger.tick(later, terms, NOTHING).tokens == 2
        assert ledger.claim(later, terms, NOTHING, ticket(word, "a")).status == "entered"
        assert ledger.bucket.tokens == 1

    def test_so_is_that_of_a_newcomer(self):
        ledger, terms = Ledger(), Terms(1, 1, active=1)
        ledger.enter(NOW, terms, NOTHING, "a")
        assert ledger.enter(NOW + SECOND // 5, terms, NOTHING, "a").status == "entered"
        assert ledger.bucket.tokens == 0.2, "on its way: it is the same token"
        later = NOW + 2 * SECOND
        assert ledger.tick(later, terms, NOTHING).tokens == 1
        assert ledger.enter(later, terms, NOTHING, "a").status == "entered"
        assert ledger.bucket.tokens == 0
        assert list(ledger.seats) == ["a"]

    def test_a_pass_whose_answer_was_lost_is_the_same_one_while_the_bucket_never_was_full(self):
        ledger, terms = Ledger(), Terms(1, 1, burst=2)
        words = [ledger.enter(NOW, terms, NOTHING, f"a{k}") for k in range(2)]
        assert ledger.tick(NOW + SECOND, terms, NOTHING).tokens == 1
        assert ledger.claim(NOW + SECOND, terms, NOTHING, ticket(words[1], "a1")).status == "entered"
        assert ledger.bucket.tokens == 1

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


class TestAnotherServer:
    """What the one before said last may be lost, and who comes first has not heard of it."""

    TERMS = Terms(20, 1, burst=20)
    MASTER, REPLICA = "a h 0 0", "b i h 0"  # run, history, the one it took over, start

    def test_no_number_is_given_twice_after_a_failover(self):
        ledger, master = Ledger(), Remembered(server=self.MASTER)
        ledger.lease(NOW, self.TERMS, master, 10)
        knows_it, not_yet = ledger.remembered(), ledger.remembered()
        copy = deepcopy(ledger)
        alices = ledger.lease(NOW + 1000, self.TERMS, replace(knows_it, server=self.MASTER), 64)
        knows_it = ledger.remembered()
        bobs = copy.lease(NOW + 2 * SECOND, self.TERMS, replace(not_yet, server=self.REPLICA), 128)
        assert alices == (11, 1)
        assert bobs == (11, 2)
        copy.tick(NOW + 3 * SECOND, self.TERMS, replace(knows_it, server=self.REPLICA))
        assert copy.epoch == 2

    def test_no_token_is_given_twice(self):
        ledger, copy = (Ledger() for _ in range(2))
        for each in (ledger, copy):
            each.tick(NOW, self.TERMS, Remembered(server=self.MASTER))
        entered = [ledger.enter(NOW, self.TERMS, Remembered(server=self.MASTER), f"a{k}").status for k in range(20)]
        replica = Remembered(server=self.REPLICA)
        entered += [copy.enter(NOW + SECOND, self.TERMS, replica, f"b{k}").status for k in range(20)]
        assert entered.count("entered") == 20

    @pytest.mark.parametrize(
        ("server", "epoch"),
        [
            ("a h 0 0", 1),  # the same
            ("a i 0 0", 1),  # it has begun another history by itself
            ("", 1),  # it does not say
            ("b i h 0", 2),  # a replica that was promoted, asked since
            ("b h 0 0", 2),  # and one that was asked before that only
            (f"b i 0 {NOW + 1}", 2),  # started since the line was written: with what was on its disk
            (f"b i 0 {NOW}", 1),  # there all the time: the keys were moved there
        ],
    )
    def test_what_may_have_lost_something_begins_a_new_epoch(self, server, epoch):
        ledger = Ledger()
        ledger.lease(NOW, self.TERMS, Remembered(server=self.MASTER), 10)
        ledger.tick(NOW + SECOND, self.TERMS, Remembered(server=server))
        ledger.tick(NOW + 2 * SECOND, self.TERMS, Remembered(server=server))
        assert (ledger.epoch, ledger.last, ledger.base) == (epoch, 10, 10 if epoch == 2 else 0)
