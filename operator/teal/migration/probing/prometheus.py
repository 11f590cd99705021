"""The user's own measurements: instant queries to a Prometheus, each with the range that it must stay in.

A value that is out of range is a breach. Anything that is not one value (no answer, no series, several series,
NaN) says nothing about the serving collection; it is reported apart, as unsure.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from teal.migration.options import BoundedQuery

SECONDS = 10.0


@dataclass(frozen=True)
class Readings:
    """Which queries are out of range, and which gave no value: sentences, in the queries' order."""

    out_of_range: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


class UnsureError(Exception):
    """There is no value; the message says why."""


async def read(url: str, queries: Sequence[BoundedQuery]) -> Readings:
    """Ask all queries at once."""
    async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
        answers = await asyncio.gather(*(_judge(client, url, query) for query in queries))
    bad = tuple(text for is_bad, text in answers if is_bad and text)
    return Readings(bad, tuple(text for is_bad, text in answers if not is_bad and text))


async def _judge(client: httpx.AsyncClient, url: str, query: BoundedQuery) -> tuple[bool, str | None]:
    """Whether the value is out of range, and the sentence about it; `None` if all is well."""
    try:
        value = await _value(client, url, query.query)
    except UnsureError as error:
        return False, f"the Prometheus query {query.name!r} gave no value: {error}"
    if query.low is not None and value < query.low:
        return True, f"the Prometheus query {query.name!r} is {value:g}, below its min {query.low:g}"
    if query.high is not None and value > query.high:
        return True, f"the Prometheus query {query.name!r} is {value:g}, above its max {query.high:g}"
    return False, None


async def _value(client: httpx.AsyncClient, url: str, query: str) -> float:
    try:
        async with asyncio.timeout(SECONDS):
            response = await client.get(f"{url.rstrip('/')}/api/v1/query", params={"query": query})
            answer = response.json()
    except (TimeoutError, httpx.TimeoutException):
        raise UnsureError(f"{url} did not answer within {SECONDS:g} s") from None
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise UnsureError(f"{url} cannot be reached ({str(error) or type(error).__name__})") from error
    except ValueError:
        raise UnsureError(f"{url} answered {response.status_code} and no JSON") from None
    return _only_value(answer)


def _only_value(answer: Any) -> float:
    """The one number of an answer of `/api/v1/query`."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        problem = answer.get("error") if isinstance(answer, dict) else None
        raise UnsureError(str(problem or "the answer does not come from Prometheus"))
    try:
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        samples = [result] if kind == "scalar" else [series["value"] for series in result]
        values = [float(text) for _, text in samples]
    except (KeyError, TypeError, ValueError):
        raise UnsureError("its result is neither a scalar nor an instant vector") from None
    if len(values) != 1:
        raise UnsureError(f"it has {len(values)} values where one is needed")
    if math.isnan(values[0]):
        raise UnsureError("its value is NaN")
    return values[0]
