"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teal.domain.retry_after import LONGEST_PAUSE, retry_after

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 29.75),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 29.75),
        ("86400", LONGEST_PAUSE),
        ("Mon, 02 Mar 2026 12:00:00 GMT", LONGEST_PAUSE),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("²", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_how_long_a_server_asks_to_wait(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(
    st.one_of(st.text(), st.datetimes(timezones=st.just(UTC)).map(lambda date: format_datetime(date, usegmt=True)))
)
@example("Sun, 01 Mar 99999999999999999999 12:00:30 GMT")
@example("1 1 1 1:1:1 99999999")
def test_no_header_breaks_or_stops_us(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or 0 < seconds <= LONGEST_PAUSE
