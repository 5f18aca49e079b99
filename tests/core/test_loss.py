"""The laws of admission where something is lost or a clock is wrong, on the pure ledger."""

from copy import deepcopy
from dataclasses import replace

import pytest

from gate.core.bucket import SECOND
from gate.core.credentials import Ticket
from gate.core.ledger import Ledger
from gate.core.line import Remembered, Terms, away_number
from gate.core.words import Reason, RoomMode
from tests.core.test_ledger import NOTHING, NOW, ticket


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
