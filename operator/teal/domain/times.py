"""Times as they are written on the wire. What "now" is, is always an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

LONGEST_PAUSE = 3600.0
"""Seconds; a server that asks for a longer pause is asked again after this one."""

DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def rfc3339(moment: datetime, timespec: Literal["seconds", "milliseconds", "microseconds"] = "seconds") -> str:
    """`moment` in UTC, ending in `Z`. Kubernetes wants whole seconds in a Time and microseconds in a MicroTime."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds from `now` that an HTTP `Retry-After` asks for: more than 0, at most `LONGEST_PAUSE`.

    `None` if it asks for no pause: it is absent, neither a number nor a date, or a moment that is over.
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
