"""Whether the collection that serves since the cut-over is worse than the one before: pure rules over figures.

Three kinds of finding. *Bad* for long enough is a breach, which causes a rollback; an answer that has become empty
and a Prometheus query out of its range are breaches at once. *Good* lets the watch's time pass. *Unsure* (for
example, Prometheus does not answer) is neither: it only stops the time, so a watch never succeeds because nobody
could measure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from teal.domain.marks import Baseline, Watched

SLOW_SECONDS = 300.0
FAILING_SECONDS = 120.0
MOMENT_SECONDS = 10.0
SHARE = 3.0
NOISE = 0.010
"""Seconds; answers that are faster than this are never called slow, whatever they were before."""


@dataclass(frozen=True)
class WatchLimits:
    """What is tolerated. `duration` and `interval` are in seconds.

    Slowness is tolerated for five minutes and errors for two, or for a third of a watch that is shorter; but a
    moment's slowness is no reason for a rollback, however short the watch is.
    """

    duration: float = 1800.0
    interval: float = 30.0
    max_latency_ratio: float = 2.0
    max_error_rate: float = 0.05

    @property
    def slow_for(self) -> float:
        return min(SLOW_SECONDS, max(MOMENT_SECONDS, self.duration / SHARE))

    @property
    def failing_for(self) -> float:
        return min(FAILING_SECONDS, self.duration / SHARE)

    def slowest(self, baseline: Baseline) -> float:
        """The 95th percentile, in seconds, above which answers are slow."""
        return max(NOISE, self.max_latency_ratio * baseline.p95)


@dataclass(frozen=True)
class Look:
    """One look at what serves: the probes' figures and what the user's own queries say.

    `seconds` have passed since the last look without a gap. `p95` is `None` where no probe was answered,
    `error_rate` where none was made. `empty` counts answers without a point, `out_of_range` tells of the user's
    queries, `unsure` why the look is not whole.
    """

    seconds: float
    p95: float | None = None
    error_rate: float | None = None
    empty: int = 0
    out_of_range: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


def judge(
    limits: WatchLimits, baseline: Baseline | None, before: Watched, look: Look
) -> tuple[Watched, str | None]:
    """What the watch knows after this look, and the breach in words if it is one.

    Without a baseline nothing is called slow or empty: there is nothing to compare with.
    """
    slow, failing = before.slow_for, before.failing_for
    if look.p95 is not None and baseline is not None:
        slow = _lasting(slow, look.p95 > limits.slowest(baseline), look.seconds)
    if look.error_rate is not None:
        failing = _lasting(failing, look.error_rate > limits.max_error_rate, look.seconds)
    watched = replace(
        before,
        seconds=before.seconds + (0.0 if look.unsure else look.seconds),
        slow_for=slow,
        failing_for=failing,
        p95=look.p95,
        error_rate=look.error_rate,
        paused="; ".join(look.unsure) or None,
    )
    return watched, _breach(limits, baseline, watched, look)


def is_over(limits: WatchLimits, watched: Watched) -> bool:
    """Whether it has been watched for long enough, and nothing is slow or failing right now."""
    return watched.seconds >= limits.duration and watched.slow_for is None and watched.failing_for is None


def _lasting(before: float | None, bad: bool, seconds: float) -> float | None:  # noqa: FBT001 - a finding
    """For how many seconds something has been bad; the first bad look counts as 0."""
    if not bad:
        return None
    return 0.0 if before is None else before + seconds


def _breach(limits: WatchLimits, baseline: Baseline | None, watched: Watched, look: Look) -> str | None:
    if look.empty and baseline is not None and baseline.answered:
        return f"{look.empty} searches through the alias found nothing; before the cut-over each found points"
    if look.out_of_range:
        return "; ".join(look.out_of_range)
    if watched.failing_for is not None and watched.failing_for >= limits.failing_for:
        return (
            f"{look.error_rate or 0.0:.0%} of the searches through the alias failed, for "
            f"{watched.failing_for:.0f} s; watch.maxErrorRate is {limits.max_error_rate:.0%}"
        )
    if watched.slow_for is not None and watched.slow_for >= limits.slow_for and look.p95 and baseline:
        return (
            f"searches through the alias took {look.p95 * 1000:.1f} ms (95th percentile) for "
            f"{watched.slow_for:.0f} s; before the cut-over {baseline.p95 * 1000:.1f} ms, and "
            f"watch.maxLatencyRatio is {limits.max_latency_ratio:g}"
        )
    return None
