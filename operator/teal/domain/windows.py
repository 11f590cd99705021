"""When a cut-over may happen: recurring windows, each opened by a cron schedule in a time zone, for a duration.

Daylight saving makes days of 23 and 25 hours. A window in the hour that is left out opens when that hour would
have begun; a window in the hour that comes twice opens once. Its duration is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


@dataclass(frozen=True)
class Window:
    """`schedule` is a cron expression of five fields, `duration` is in seconds, `time_zone` an IANA name."""

    schedule: str
    duration: float
    time_zone: str = "UTC"

    def problem(self) -> str | None:
        """Which field is wrong and why, beginning with the field's name; `None` if all is well."""
        try:
            zone = ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return f"timeZone: {self.time_zone!r} is not the IANA name of a time zone, such as Europe/Berlin"
        try:
            next(CronSim(self.schedule, datetime(2000, 1, 1, tzinfo=zone)))
        except CronSimError as error:
            return f"schedule: {self.schedule!r} is not a cron expression: {str(error).lower()}"
        except StopIteration:
            return f"schedule: {self.schedule!r} names no day that exists, so the window would never open"
        return None

    def opened(self, now: float) -> float:
        """When it last opened, at `now` or before."""
        # Looking back finds only what lies before the start, so it starts a little later.
        ticks = CronSim(self.schedule, self._local(now + 1.0), reverse=True)
        return next(at for at in (tick.timestamp() for tick in ticks) if at <= now)

    def opens(self, now: float) -> float:
        """When it opens next, after `now`."""
        return next(CronSim(self.schedule, self._local(now))).timestamp()

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(self.time_zone))


def first_problem(windows: Sequence[Window]) -> str | None:
    """The first mistake in a list of windows, with its place: `[1].schedule: …`."""
    for index, window in enumerate(windows):
        if problem := window.problem():
            return f"[{index}].{problem}"
    return None


def open_until(windows: Sequence[Window], now: float) -> float | None:
    """The end of the windows that are open now, `None` if none is; infinity without windows: it always may."""
    if not windows:
        return float("inf")
    ends = [window.opened(now) + window.duration for window in windows]
    return max((end for end in ends if end > now), default=None)


def next_opening(windows: Sequence[Window], now: float) -> float:
    """When the next window opens. There must be one, and none may be open."""
    return min(window.opens(now) for window in windows)
