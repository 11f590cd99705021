"""Is green as fast as blue? The same searches on both, alternately, after a warm-up.

Alternately, so that other load on the machines slows down both. The check fails only if the ratio is too high in
three rounds in a row, and times under `FLOOR` count as `FLOOR`: below it, noise is larger than the difference, so
a fast green cannot fail because blue was even faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from teal.domain.percentile import percentile
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Neighbour, Side
from teal.qdrant.wire import Floats

LIMIT = 10
ROUNDS = 3
FLOOR = 0.002
"""Seconds."""
MAX_RATIO = 2.0
FEWEST = 5


class _Times:
    """Seconds that each side took."""

    def __init__(self) -> None:
        self.blue: list[float] = []
        self.green: list[float] = []

    def ratio(self, share: float, floor: float = 0.0) -> float:
        """Green's percentile as a multiple of blue's, which counts as `floor` at least."""
        blue = max(percentile(self.blue, share), floor, 1e-9)
        return percentile(self.green, share) / blue

    def worst(self, floor: float = 0.0) -> float:
        return max(self.ratio(0.5, floor), self.ratio(0.95, floor))

    def __str__(self) -> str:
        shown = []
        for name, share in (("median", 0.5), ("p95", 0.95)):
            blue, green = (percentile(times, share) * 1000 for times in (self.blue, self.green))
            shown.append(f"{name} {green:.1f} ms, {blue:.1f} ms on blue")
        return "; ".join(shown)


async def ratio(comparison: Comparison) -> list[Check]:
    """`Latency`: the worse of the ratios at the median and the 95th percentile."""
    asked_for = comparison.gates.max_latency_ratio
    threshold, gate = asked_for or MAX_RATIO, asked_for is not None
    vector = comparison.green.state.schema.main
    if vector is None or all(v.name != vector.name for v in comparison.blue.state.schema.vectors):
        return [Check("Latency", Verdict.INCONCLUSIVE, "no dense vector to search both by", gate=gate)]
    there = [n for n in await comparison.neighbours(vector) if n.blue is not None]
    if len(there) < FEWEST:
        return [Check("Latency", Verdict.INCONCLUSIVE, f"only {len(there)} points to search by", gate=gate)]
    times = _Times()
    for number in range(ROUNDS):
        comparison.say(f"measuring searches, round {number + 1}")
        times = await _measured(comparison, vector.name, there)
        if times.worst(FLOOR) <= threshold:
            break
    return [_judge(times, threshold, gate=gate)]


def _judge(times: _Times, threshold: float, *, gate: bool) -> Check:
    observed, message = times.worst(), str(times)
    if times.worst(FLOOR) > threshold:
        return Check("Latency", Verdict.FAILED, message, observed, threshold, gate=gate)
    if observed > threshold:
        message += f"; below {FLOOR * 1000:.0f} ms a ratio is not meaningful"
        # No gate, so it is not checked again: green is fast enough, whatever the ratio is.
        return Check("Latency", Verdict.INCONCLUSIVE, message, observed, threshold)
    return Check("Latency", Verdict.PASSED, message, observed, threshold, gate=gate)


async def _measured(comparison: Comparison, name: str, there: Sequence[Neighbour]) -> _Times:
    times = _Times()
    for number in range(comparison.warm_up + comparison.searches):
        n = there[number % len(there)]
        sides = [(comparison.blue, n.blue, times.blue), (comparison.green, n.green, times.green)]
        for side, row, kept in sides if number % 2 else reversed(sides):
            if row is not None:
                took = await _search(comparison, side, row, name)
                if number >= comparison.warm_up:
                    kept.append(took)
    return times


async def _search(comparison: Comparison, side: Side, row: Floats, name: str) -> float:
    began = comparison.clock.monotonic()
    await side.points.query(side.name, row, LIMIT, name=name)
    return comparison.clock.monotonic() - began
