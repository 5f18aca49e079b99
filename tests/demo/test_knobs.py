import pytest

from gate.demo.knobs import OK, Knob, Knobs


def test_a_part_is_its_path_and_what_lies_below() -> None:
    knobs = Knobs()
    knobs.turn({"reviews": {"mode": "slow", "delay": 3}, "shipping": "fail"})
    assert knobs.for_path("/reviews/mug") == Knob("slow", 3.0)
    assert knobs.for_path("/reviewsx") == OK
    assert knobs.for_path("/api/shipping-rates") == Knob("fail")
    assert knobs.for_path("/") == OK
    knobs.turn({"all": {"mode": "dead"}})
    assert knobs.for_path("/healthz").mode == "dead"
    assert knobs.for_path("/reviews/mug").mode == "dead"
    knobs.turn({"all": "ok"})
    assert knobs.for_path("/healthz") == OK
    assert knobs.for_path("/reviews/mug") == OK  # all of it is well again


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "write an object"),
        ({"till": "dead"}, "the parts are reviews"),
        ({"reviews": "broken"}, "the modes are ok, slow"),
        ({"reviews": {"mode": "slow", "wait": 1}}, "the modes are"),
        ({"reviews": {"mode": "slow", "delay": -1}}, "delay is a number"),
        ({"reviews": {"mode": "slow", "delay": float("nan")}}, "delay is a number"),
        ({"reviews": {"mode": "slow", "delay": "2"}}, "delay is a number"),
        ({"search": "dead", "reviews": {"mode": []}}, "the modes are"),
    ],
)
def test_what_is_not_understood_changes_nothing_and_says_why(document: object, says: str) -> None:
    knobs = Knobs()
    with pytest.raises(ValueError, match=says):
        knobs.turn(document)
    assert knobs.for_path("/search") == OK
