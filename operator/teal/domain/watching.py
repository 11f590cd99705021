"""Whether what serves since the switch is worse than what served before: pure rules over figures.

Three kinds of finding. *Bad* for long enough is a breach, and undoes the switch; an answer that has become empty
and a query of the user's that has left its range are breaches at once. *Good* lets the watch's time pass.
*Unsure* (Prometheus cannot be asked, say) is neither: it only stops the time, so a watch never ends well because
nobody could look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from teal.domain.marks import Baseline, Watched

SLOW_SECONDS = 300.0
FAILING_SECONDS = 120.0
SHARE = 3.0
NOISE = 0.010
"""Seconds; answers that are faster than this are never called slow, whatever they were before."""


@dataclass(frozen=True)
class Rules:
    """What is tolerated. `duration` and `interval` are in seconds.

    Slowness is tolerated for five minutes and errors for two, or for a third of a watch that is shorter.
    """

    duration: float = 1800.0
    interval: float = 30.0
    max_latency_ratio: float = 2.0
    max_error_rate: float = 0.05

    @property
    def slow_for(self) -> float:
        return min(SLOW_SECONDS, self.duration / SHARE)

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


def judge(rules: Rules, baseline: Baseline | None, before: Watched, look: Look) -> tuple[Watched, str | None]:
    """What has been seen with this look, and the breach in words if it is one.

    Without a baseline nothing is called slow or empty: there is nothing to compare with.
    """
    slow, failing = before.slow_for, before.failing_for
    if look.p95 is not None and baseline is not None:
        slow = _lasting(slow, look.p95 > rules.slowest(baseline), look.seconds)
    if look.error_rate is not None:
        failing = _lasting(failing, look.error_rate > rules.max_error_rate, look.seconds)
    watched = replace(
        before,
        seconds=before.seconds + (0.0 if look.unsure else look.seconds),
        slow_for=slow,
        failing_for=failing,
        p95=look.p95,
        error_rate=look.error_rate,
        paused="; ".join(look.unsure) or None,
    )
    return watched, _breach(rules, baseline, watched, look)


def is_over(rules: Rules, watched: Watched) -> bool:
    """Whether it has been watched for long enough, and nothing that is bad now has still to show how long."""
    return watched.seconds >= rules.duration and watched.slow_for is None and watched.failing_for is None


def _lasting(before: float | None, bad: bool, seconds: float) -> float | None:  # noqa: FBT001 - a finding
    """For how long something has been bad: it takes two looks to say that it lasts."""
    if not bad:
        return None
    return 0.0 if before is None else before + seconds


def _breach(rules: Rules, baseline: Baseline | None, watched: Watched, look: Look) -> str | None:
    if look.empty and baseline is not None and baseline.answered:
        return f"{look.empty} searches through the alias found nothing; before the switch each found points"
    if look.out_of_range:
        return "; ".join(look.out_of_range)
    if watched.failing_for is not None and watched.failing_for >= rules.failing_for:
        return (
            f"{look.error_rate or 0.0:.0%} of the searches through the alias failed, for "
            f"{watched.failing_for:.0f} s; watch.maxErrorRate is {rules.max_error_rate:.0%}"
        )
    if watched.slow_for is not None and watched.slow_for >= rules.slow_for and look.p95 and baseline:
        return (
            f"searches through the alias took {look.p95 * 1000:.1f} ms (95th percentile) for "
            f"{watched.slow_for:.0f} s; before the switch {baseline.p95 * 1000:.1f} ms, and watch.maxLatencyRatio "
            f"is {rules.max_latency_ratio:g}"
        )
    return None
