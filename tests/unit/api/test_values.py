"""Durations, cut texts, and times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.api.conditions import Condition
from teal.api.status import HISTORY, CheckStatus, HistoryEntry, VectorCollectionStatus
from teal.api.values import DURATION_LENGTH, format_duration, parse_duration, rfc3339

MILLISECONDS = st.integers(min_value=0, max_value=999_999 * 3600 * 1000)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("48h", timedelta(hours=48)),
        ("5m30s", timedelta(minutes=5, seconds=30)),
        ("250ms", timedelta(milliseconds=250)),
        ("1m1ms", timedelta(minutes=1, milliseconds=1)),
        ("90m", timedelta(hours=1, minutes=30)),
        ("0s", timedelta()),
    ],
)
def test_durations_are_read(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "1.5h", "5d", "m", "5m\n", "1000000h", "1h1m1s1ms1s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(MILLISECONDS)
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    text = format_duration(duration)
    assert parse_duration(text) == duration
    assert len(text) <= DURATION_LENGTH


def test_a_status_is_cut_rather_than_refused() -> None:
    check = CheckStatus(name="ids", verdict="Failed", message="x" * 5000, samples=tuple(map(str, range(100))))
    assert check.message is not None
    assert len(check.message) == 1024
    assert check.message.endswith("…")
    assert check.samples == tuple(map(str, range(10)))
    status = VectorCollectionStatus(history=tuple(HistoryEntry(to=str(n)) for n in range(20)))
    assert [entry.to for entry in status.history] == [str(n) for n in range(HISTORY)]


def test_a_status_is_dumped_as_the_api_server_has_it() -> None:
    entry = HistoryEntry(from_="blue", to="green", duration=timedelta(seconds=90))
    berlin = timezone(timedelta(hours=1))
    status = VectorCollectionStatus(
        observed_generation=3,
        history=(entry,),
        conditions=(
            Condition(
                type="Ready",
                status="True",
                last_transition_time=datetime(2024, 1, 1, 1, 0, 0, 999, tzinfo=berlin),
                reason="Because",
                message="so",
            ),
        ),
    )
    assert status.dump() == {
        "observedGeneration": 3,
        "history": [{"from": "blue", "to": "green", "duration": "1m30s"}],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2024-01-01T00:00:00Z",
                "reason": "Because",
                "message": "so",
            }
        ],
    }


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 3, 1, 1, 2, 3, 45, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-02-28T23:02:03Z"
    assert rfc3339(moment, "milliseconds") == "2026-02-28T23:02:03.000Z"
    assert rfc3339(moment, "microseconds") == "2026-02-28T23:02:03.000045Z"
