"""Any brand colour can be read on both grounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import resources
from gate.web.colours import AA, DARK, LIGHT, accent_on, contrast


@given(st.integers(0, 0xFFFFFF), st.sampled_from([LIGHT, DARK]))
def test_contrast_is_enough_whatever_the_brand(number, ground):
    accent = accent_on(f"#{number:06x}", ground)
    assert contrast(accent.colour, ground) >= AA
    assert contrast(accent.on, accent.colour) >= AA


def test_a_readable_colour_is_left_alone():
    assert accent_on("#0b57d0", LIGHT).colour == "#0b57d0"


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [("#000000", "#ffffff", 21), ("#777777", "#ffffff", 4.48), ("#abcdef", "#abcdef", 1)]
)
def test_contrast_as_in_the_guidelines(one, other, ratio):
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)


def test_the_grounds_are_those_of_the_sheet():
    sheet = resources.static("page.css").read_text()
    assert LIGHT in sheet
    assert DARK in sheet
