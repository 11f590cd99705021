"""What has to be true before the cut-over of a plan, for `teal plan`: in words, and as JSON.

The engine decides by the same values: they come from `Options`, with the defaults of each check.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from teal.api.values import format_duration
from teal.domain.plan import Plan, Population, Strategy
from teal.domain.policy import Do
from teal.domain.windows import next_opening, open_until
from teal.domain.writes import WriteMode
from teal.migration.clock import iso
from teal.migration.options import Options
from teal.migration.report.record import ReconcileRecord
from teal.migration.resolve.desired import options as options_of
from teal.migration.verification.latency import MAX_RATIO
from teal.migration.verification.search import MIN_OVERLAP


@dataclass(frozen=True)
class Gate:
    """One condition of the cut-over: `label` and `text` for people, `key` and `fields` for machines."""

    key: str
    label: str
    text: str
    fields: dict[str, Any]


def gates(found: ReconcileRecord) -> list[Gate]:
    """The conditions of the next cut-over, in the order in which Teal checks them.

    A first revision has none. A rollback has only the fence: it waits for no approval, window or hook.
    """
    decision = found.decision
    if decision is None or decision.plan.source is None or decision.do in (Do.STAY, Do.WATCH):
        return []
    options = options_of(found.resource)
    if decision.plan.strategy is Strategy.ROLLBACK:
        return [_fence(options)]
    if decision.plan.strategy is not Strategy.BLUE_GREEN:
        return []
    return list(_before_green_serves(found, options, decision.plan))


def _before_green_serves(found: ReconcileRecord, options: Options, plan: Plan) -> Iterator[Gate]:
    yield _thresholds(options, same_vectors=plan.population is Population.COPY)
    if (judged := _judged(found)) is not None:
        yield judged
    yield _promotion(found, options, plan.hash)
    if options.windows:
        yield _windows(options, found.now)
    if options.before_switch:
        url = options.before_switch.url
        yield Gate("beforeSwitch", "hook", f"POST {url} answers 2xx", {"url": url})
    if options.writes is WriteMode.DUAL_WRITE:
        yield Gate("fence", "fence", "none: the application writes to both (DualWrite)", {"mode": "Never"})
    else:
        yield _fence(options)


def _thresholds(options: Options, *, same_vectors: bool) -> Gate:
    latency = MAX_RATIO if options.max_latency_ratio is None else options.max_latency_ratio
    overlap = MIN_OVERLAP if options.min_overlap is None else options.min_overlap
    needed = [
        f"coverage {options.min_coverage:g} or more",
        *([f"overlap {overlap:g} or more"] if same_vectors else []),
        f"latency at most {latency:g} times blue's",
    ]
    fields = {
        "minCoverage": options.min_coverage,
        "sample": options.sample,
        "maxLatencyRatio": latency,
        **({"minOverlap": overlap} if same_vectors else {}),
    }
    text = f"{', '.join(needed)}; {options.sample:,} points compared whole"
    return Gate("verification", "verified", text, fields)


def _judged(found: ReconcileRecord) -> Gate | None:
    golden = found.resource.manifest.spec.verification.golden_queries
    if golden is None:
        return None
    name = golden.config_map_ref.name
    text = f"recall {golden.min_recall:g} or more for the judged queries of ConfigMap {name}"
    return Gate("goldenQueries", "judged", text, {"configMap": name, "minRecall": golden.min_recall})


def _promotion(found: ReconcileRecord, options: Options, plan: str) -> Gate:
    if not options.manual:
        return Gate("promotion", "approval", "automatic", {"mode": "Automatic", "approved": True})
    approved = found.desired is not None and found.desired.asked.promote == plan
    text = "given" if approved else f"annotate teal.dev/promote={plan}"
    return Gate("promotion", "approval", f"manual: {text}", {"mode": "Manual", "approved": approved})


def _windows(options: Options, now: float) -> Gate:
    listed = [
        {"schedule": each.schedule, "duration": _duration(each.duration), "timeZone": each.time_zone}
        for each in options.windows
    ]
    until = open_until(options.windows, now)
    if until is not None:
        text, moment = f"open until {iso(until)}", {"openUntil": iso(until)}
    else:
        opening = iso(next_opening(options.windows, now))
        text, moment = f"opens next at {opening}", {"nextOpening": opening}
    schedules = ", ".join(f"{each['schedule']} {each['timeZone']} for {each['duration']}" for each in listed)
    return Gate("windows", "window", f"{text} ({schedules})", {**moment, "windows": listed})


def _fence(options: Options) -> Gate:
    quiet, most = _duration(options.quiet_wait), _duration(options.max_fence)
    if options.fence:
        text = f"no write for the time of one pass; after {quiet} writers get 429 for at most {most}"
        return Gate("fence", "fence", text, {"mode": "WhenBusy", "quietWait": quiet, "maxFence": most})
    text = f"never: after {quiet} the alias moves while writers go on"
    return Gate("fence", "fence", text, {"mode": "Never", "quietWait": quiet})


def _duration(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
