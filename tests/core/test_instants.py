from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.instants import format_distance, format_instant, format_moment, parse_instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-27T11:00:00Z", "2026-11-27T11:00:00Z"),
        ("2026-11-27T12:00:00+01:00", "2026-11-27T11:00:00Z"),
        ("2026-11-27 12:00 Europe/Berlin", "2026-11-27T11:00:00Z"),
        ("2026-07-27 12:00 Europe/Berlin", "2026-07-27T10:00:00Z"),
        ("2026-11-27 12:00 UTC", "2026-11-27T12:00:00Z"),
        ("2026-11-27 12:00:30 America/Argentina/Buenos_Aires", "2026-11-27T15:00:30Z"),
    ],
)
def test_a_time_and_its_place_are_an_instant(text, instant):
    assert format_instant(parse_instant(text)) == instant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-03-29 02:30 Europe/Berlin", "does not exist"),
        ("2026-10-25 02:30 Europe/Berlin", "happens twice"),
        ("2026-04-05 01:45 Australia/Lord_Howe", "happens twice"),  # half an hour
        ("2026-11-27 12:00", "where on earth"),
        ("2026-11-27T12:00:00Z Europe/Berlin", "both"),
        ("2026-02-30 12:00 UTC", "calendar"),
        ("2026-11-27 12:00 Europe/Atlantis", "not a time zone"),
        ("2026-11-27 12:00 ../etc/passwd", "not a point in time"),
        ("noon", "not a point in time"),
        (2026, "not a point in time"),
        (True, "not a point in time"),
        (10**14, "not a point in time"),
        ("9999-12-31T23:59:00-10:00", "no time for a sale"),
        ("0001-01-01T00:00:00+10:00", "no time for a sale"),
    ],
)
def test_what_is_no_instant_is_explained(text, said):
    with pytest.raises(ValueError, match=said):
        parse_instant(text)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001 - wall clocks
    st.sampled_from(["Europe/Berlin", "America/New_York"]),
)
def test_what_is_read_is_what_the_wall_clock_shows_then(local, zone):
    local = local.replace(microsecond=0)
    try:
        instant = parse_instant(f"{local.isoformat(' ')} {zone}")
    except ValueError:
        early, late = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
        assert early != late
    else:
        assert datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None) == local


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (40, "40 s"),
        (59.6, "1 min"),
        (320, "5 min 20 s"),
        (600, "10 min"),
        (3599, "59 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (172_800, "2 days"),
        (187_200, "2 days 4 h"),
    ],
)
def test_distances_as_people_say_them(seconds, said):
    assert format_distance(seconds) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-27 12:00 Europe/Berlin", "Fri 27 Nov 2026 11:00 UTC"),
        ("2027-01-03T00:30:00+01:00", "Sat 2 Jan 2027 23:30 UTC"),
        ("2027-01-03T00:30:05Z", "Sun 3 Jan 2027 00:30:05 UTC"),
    ],
)
def test_a_moment_as_people_check_it(text, said):
    assert format_moment(parse_instant(text)) == said
