"""Windows open when their schedule says, in their own time zone, on days of 23 and 25 hours too."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.windows import Window, first_problem, next_opening, open_until

HOUR = 3600.0
NIGHTLY = Window("0 2 * * *", HOUR)
BERLIN = Window("30 2 * * *", HOUR, "Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("window", "now", "until"),
    [
        (NIGHTLY, "2025-06-01T01:59:59.9+00:00", None),
        (NIGHTLY, "2025-06-01T02:00:00+00:00", "2025-06-01T03:00:00+00:00"),
        (NIGHTLY, "2025-06-01T02:59:59.9+00:00", "2025-06-01T03:00:00+00:00"),
        (NIGHTLY, "2025-06-01T03:00:00+00:00", None),
        (Window("0 2 * * 6", 72 * HOUR), "2025-06-09T12:00:00+00:00", "2025-06-10T02:00:00+00:00"),
        (BERLIN, "2025-03-30T03:05:00+02:00", "2025-03-30T04:00:00+02:00"),  # 2:30 does not exist that night
        (BERLIN, "2025-10-26T02:35:00+02:00", "2025-10-26T02:30:00+01:00"),  # 2:30 comes twice, opens once
        (BERLIN, "2025-10-26T02:35:00+01:00", None),
    ],
)
def test_a_window_is_open_from_its_schedule_for_its_duration(window: Window, now: str, until: str | None) -> None:
    assert open_until([window], at(now)) == (at(until) if until else None)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2025-06-01T12:00:00+02:00", "2025-06-02T02:30:00+02:00"),
        ("2025-03-29T12:00:00+01:00", "2025-03-30T03:00:00+02:00"),
        ("2025-10-26T02:35:00+01:00", "2025-10-27T02:30:00+01:00"),
    ],
)
def test_the_next_opening(now: str, opens: str) -> None:
    assert next_opening([BERLIN], at(now)) == at(opens)


def test_without_windows_it_is_always_open() -> None:
    assert open_until([], 0.0) == inf


def test_of_several_windows_one_is_enough_and_the_longest_counts() -> None:
    now = at("2025-06-01T02:30:00+00:00")
    longer = Window("0 1 * * *", 3 * HOUR)
    assert open_until([NIGHTLY, longer, Window("0 12 * * *", HOUR)], now) == at("2025-06-01T04:00:00+00:00")
    assert next_opening([Window("0 12 * * *", HOUR), Window("0 11 * * *", HOUR)], now) == at(
        "2025-06-01T11:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        (Window("61 2 * * *", HOUR), "[1].schedule: '61 2 * * *' is not a cron expression: bad minute"),
        (Window("0 2 30 2 *", HOUR), "[1].schedule"),
        (Window("0 2 * * *", HOUR, "Europe/Nowhere"), "[1].timeZone"),
        (Window("0 2 * * *", HOUR, "../etc/passwd"), "[1].timeZone"),
    ],
)
def test_a_mistake_is_told_with_its_place(window: Window, problem: str) -> None:
    found = first_problem([NIGHTLY, window])
    assert found is not None
    assert found.startswith(problem)


def test_good_windows_have_no_problem() -> None:
    assert first_problem([NIGHTLY, BERLIN, Window("*/5 8-18 * * MON-FRI", 60.0, "America/New_York")]) is None


schedules = st.sampled_from(
    ["0 2 * * *", "*/7 * * * *", "30 1 * * 0", "0 0 1 * *", "59 23 29 2 *", "15 3 * 6 1-5"]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
windows = st.builds(Window, schedules, st.floats(60, 7 * 24 * HOUR), zones)
moments = st.floats(at("2023-01-01T00:00:00+00:00"), at("2027-12-31T00:00:00+00:00"))


@given(windows, moments)
def test_now_lies_between_an_opening_and_the_next(window: Window, now: float) -> None:
    opened, opens = window.opened(now), window.opens(now)
    assert opened <= now < opens
    assert window.opens(opened - 0.5) == opened
    assert window.opened(opens) == opens


@given(windows, moments)
def test_a_closed_window_opens_when_it_says(window: Window, now: float) -> None:
    if open_until([window], now) is None:
        opening = next_opening([window], now)
        assert open_until([window], opening) == opening + window.duration
        # With room for shifted clocks: nothing opens in between.
        between = now + (opening - now) * 0.999
        if between < opening - timedelta(seconds=2).total_seconds():
            assert open_until([window], between) is None
