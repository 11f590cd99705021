"""The recorded sessions of real servers, case by case.

Each case is a test of its own, so that a difference reads as "this request, this field".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.client import Rest
from tests.conformance.comparing import assert_same, normalised
from tests.conformance.replay import Case, Replay, recordings
from tests.plugins.qdrant import Qdrant

Json = Any

# Chance, in these answers only.
VOLATILE_IN = {
    "server version": frozenset({"version", "commit"}),
    "query sample": frozenset({"id"}),
    "config after adding a named vector": frozenset({"length"}),  # the write before it did not wait
    "create snapshot": frozenset({"size"}),
    "list snapshots": frozenset({"size"}),
}

CASES = [Case.parse(line) for line in max(recordings().items())[1]]
METRICS = [i for i, case in enumerate(CASES) if case.path.startswith("/metrics")]
ANSWERED = [i for i in range(len(CASES)) if i not in METRICS]


@pytest.fixture(scope="module")
def replay(rest: Rest) -> Iterator[Replay]:
    prefix = f"conf{uuid4().hex[:8]}"
    yield Replay(rest, prefix, os.environ.get("QDRANT_SNAPSHOTS_PATH", "/qdrant/snapshots"))
    for name in rest.collections():
        if name.startswith(prefix):
            rest.drop(name)


def test_every_recording_is_of_the_same_session() -> None:
    names = [[Case.parse(line).name for line in lines] for lines in recordings().values()]
    assert all(session == names[0] for session in names)


@pytest.mark.parametrize("index", ANSWERED, ids=[f"{i:02}-{CASES[i].name}" for i in ANSWERED])
def test_answers_as_recorded(replay: Replay, index: int) -> None:
    case, answer = replay.cases[index], replay.answer(index)
    assert answer.status == case.status, answer.body
    chance = VOLATILE_IN.get(case.name, frozenset())
    assert_same(normalised(case.response, chance), normalised(answer.body, chance))


def test_a_listed_snapshot_is_the_one_that_was_made(replay: Replay) -> None:
    at = {case.name: i for i, case in enumerate(CASES)}
    assert replay.answer(at["list snapshots"]).result == [replay.answer(at["create snapshot"]).result]


def test_no_metric_is_made_up_and_none_is_lost(replay: Replay, qdrant: Qdrant) -> None:
    """The embedded server serves a part of the metrics; a real one all that were recorded."""
    served = {_metric(line) for line in _samples(replay)}
    if qdrant.embedded:
        known = {name for lines in recordings().values() for name in Case.parse(lines[METRICS[0]]).response}
        assert served - known == set()
        assert {
            "collection_points",
            "collection_running_optimizations",
            "collection_update_queue_length",
        } <= served
    else:
        assert set(replay.cases[METRICS[0]].response) - served == set()


def test_metrics_of_the_living_collections_have_the_recorded_values(replay: Replay) -> None:
    """A real server goes on telling of a dropped collection; nobody relies on that."""
    served = _samples(replay)
    names = {_metric(line) for line in served}
    dropped = f'"{replay.prefix}-green"'
    recorded = [line.rsplit(" ", 1) for line in replay.cases[METRICS[1]].response if dropped not in line]
    expected = {line: float(value) for line, value in recorded if _metric(line) in names}
    assert expected
    assert {line: served.get(line) for line in expected} == expected


def _samples(replay: Replay) -> dict[str, float]:
    """Each sample that `/metrics` gave: name and labels to its value."""
    text: str = replay.answer(METRICS[0]).body
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {line: float(value) for line, value in lines}


def _metric(line: str) -> str:
    return re.split(r"[{ ]", line, maxsplit=1)[0]
