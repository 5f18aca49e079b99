import pytest

from gate.core.decision import Decision
from gate.core.settings import Route
from gate.core.settle import Result, Trouble, is_failure, settle
from gate.core.words import Outcome, Reason

CANNED = Route.model_validate({"match": "/api", "fallback": {"json": {"rate": 7.99}}})
PLAIN = Route.model_validate({"match": "/plain"})


def forward(route: Route | None) -> Decision:
    return Decision(Outcome.FORWARD, Reason.UNGUARDED, route=route)


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 404, 409, 422, 429, 499, 501, 505])
@pytest.mark.parametrize("route", [None, PLAIN, CANNED])
def test_answers_that_are_no_failure_are_delivered(status, route):
    assert not is_failure(Result(status=status))
    assert settle(forward(route), Result(status=status)) == forward(route)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 599])
def test_the_origins_own_error_page_is_delivered_where_nothing_better_is_configured(status):
    assert is_failure(Result(status=status))
    assert settle(forward(None), Result(status=status)).outcome is Outcome.FORWARD
    assert settle(forward(PLAIN), Result(status=status)).outcome is Outcome.FORWARD


@pytest.mark.parametrize(
    "result", [Result(status=500), Result(status=503), *(Result(trouble=t) for t in Trouble if t is not Trouble.BUSY)]
)
def test_a_canned_answer_replaces_every_failure(result):
    settled = settle(forward(CANNED), result)
    assert (settled.outcome, settled.reason, settled.route) == (Outcome.FALLBACK, Reason.ORIGIN_FAILED, CANNED)


@pytest.mark.parametrize("trouble", [trouble for trouble in Trouble if trouble is not Trouble.BUSY])
@pytest.mark.parametrize("route", [None, PLAIN])
def test_trouble_without_a_canned_answer_is_the_static_page(trouble, route):
    settled = settle(forward(route), Result(trouble=trouble))
    assert (settled.outcome, settled.reason, settled.route) == (Outcome.FALLBACK, Reason.ORIGIN_FAILED, None)


@pytest.mark.parametrize("route", [None, PLAIN, CANNED])
def test_our_own_full_pool_is_shed_and_no_failure_of_the_origin(route):
    busy = Result(trouble=Trouble.BUSY)
    assert not is_failure(busy)
    settled = settle(forward(route), busy)
    assert (settled.outcome, settled.reason, settled.route) == (Outcome.SHED, Reason.OVERLOAD, route)
    assert settled.retry_after
