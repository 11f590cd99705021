"""What copying will cost, from a small sample of blue, before a point moves."""

from __future__ import annotations

from dataclasses import dataclass

from teal.domain.forecast import Forecast, forecast
from teal.domain.plan import Population
from teal.migration.context import Context
from teal.migration.session import Part
from teal.qdrant import wire

SAMPLE = 64


@dataclass
class Cost(Part, survives_plan=False):
    """The forecast of this plan, `None` until it has been made."""

    forecast: Forecast | None = None


async def estimate(ctx: Context) -> Forecast:
    """Sizes from a small sample of blue; exact for a collection smaller than the sample."""
    if ctx.source is None:
        return forecast(ctx.plan, 0, 0.0, 0.0)
    points = ctx.server.points
    total = await ctx.server.admin.count(ctx.source.name)
    async for page in points.ids(ctx.source.name, page=SAMPLE):
        sample = await points.fetch(ctx.source.name, page, vectors=False)
        break
    else:
        sample = []
    payload = [sum(len(entry) for entry in point.payload) for point in sample]
    lengths = (
        [len(str(wire.payload_value(p.payload, ctx.plan.text_field) or "")) for p in sample]
        if (ctx.plan.population is Population.REEMBED and ctx.plan.text_field)
        else []
    )
    return forecast(ctx.plan, total, _mean(payload), _mean(lengths))


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
