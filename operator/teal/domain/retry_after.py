"""HTTP's `Retry-After` header: how long a server asks its client to wait."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = 3600.0
"""Seconds; a longer pause that a server asks for is cut to this one."""

DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds from `now` that an HTTP `Retry-After` asks for: more than 0, at most `LONGEST_PAUSE`.

    `None` if it asks for no pause: it is absent, neither a number nor a date, or a date in the past.
    """
    seconds = _seconds(header or "", now)
    return min(seconds, LONGEST_PAUSE) if seconds > 0 else None


def _seconds(header: str, now: datetime) -> float:
    if DECIMAL.fullmatch(header):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return 0.0
    # By RFC 9110 a date is in GMT; one with "-0000" is parsed without a time zone.
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
