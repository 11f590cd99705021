"""The pure parts of verification: when two points are equal, what judged queries look like, when to ask again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from teal.domain.errors import TerminalError
from teal.domain.quality import JudgedQuery
from teal.domain.schema import Datatype, Distance
from teal.domain.transitions import Event
from teal.domain.verdict import Check, Verdict
from teal.migration.session import Session
from teal.migration.steps import verify
from teal.migration.verification.content import close, payload_differs
from teal.migration.verification.judged import parse
from teal.qdrant import wire
from tests.unit.qdrant.test_wire import entries

UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"


def point(payload: dict[str, Any]) -> wire.Point:
    return wire.Point(wire.raw_id(1), entries(payload), b"")


@pytest.mark.parametrize(
    ("blue", "green", "differs"),
    [
        ({"b": {"x": 1, "y": [{"p": 1, "q": 2}]}}, {"b": {"y": [{"q": 2, "p": 1}], "x": 1}}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": None}, {}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, True),
        ({"a": "1"}, {"a": 1}, True),
    ],
)  # fmt: skip
def test_payloads(blue: dict[str, Any], green: dict[str, Any], differs: bool) -> None:
    nobody: Any = None
    assert payload_differs(nobody, point(blue), point(green)) is differs
    assert payload_differs(nobody, point(green), point(blue)) is differs


@pytest.mark.parametrize(
    ("blue", "green", "distance", "datatype", "expected"),
    [
        ([3.0, 4.0], [0.6, 0.8], Distance.COSINE, Datatype.FLOAT32, True),
        ([3.0, 4.0], [3.0, 4.0], Distance.COSINE, Datatype.FLOAT32, False),
        ([3.0, 4.0], [0.6, 0.8001], Distance.COSINE, Datatype.FLOAT32, False),
        ([3.0, 4.0], [0.6, 0.801], Distance.COSINE, Datatype.FLOAT16, True),
        ([[3.0, 4.0], [0.0, 2.0]], [[0.6, 0.8], [0.0, 1.0]], Distance.COSINE, Datatype.FLOAT32, True),
        ([0.0, 0.0], [0.0, 0.0], Distance.COSINE, Datatype.FLOAT32, True),
        ([300.0, 4.0], [300.001, 4.0], Distance.DOT, Datatype.FLOAT32, True),
        ([300.0, 4.0], [300.0, 4.1], Distance.DOT, Datatype.FLOAT32, False),
        ([200.4, 4.0], [200.0, 4.0], Distance.EUCLID, Datatype.UINT8, True),
        ([200.4, 4.0], [198.0, 4.0], Distance.EUCLID, Datatype.UINT8, False),
        ([1.0, 2.0], [1.0, 2.0, 3.0], Distance.DOT, Datatype.FLOAT32, False),
        ([1.0, 2.0], [1.0, float("nan")], Distance.DOT, Datatype.FLOAT32, False),
    ],
)
def test_vectors(blue: Any, green: Any, distance: Distance, datatype: Datatype, expected: bool) -> None:
    rows = (np.asarray(each, dtype=np.float32) for each in (blue, green))
    assert close(*rows, distance, datatype) is expected


def test_judged_queries_are_yaml_or_json() -> None:
    texts = {
        "b.yaml": f"- query: how to open a file\n  relevant: [1, {UUID.upper()}, 1]\n",
        "a.json": '[{"query": "q", "relevant": [7], "k": 3}]',
        "empty": "",
    }
    assert parse(texts, "ConfigMap g") == [
        JudgedQuery("q", (7,), 3),
        JudgedQuery("how to open a file", (1, UUID), 10),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{query: a}", "Input should be a valid list"),
        ("- {query: a}", "0.relevant: Field required"),
        ("- {query: a, relevant: []}", "0.relevant: List should have at least 1 item"),
        ("- {query: '', relevant: [1]}", "0.query"),
        ("- {query: a, relevant: [nobody]}", "badly formed"),
        ("- {query: a, relevant: [1], limit: 3}", "0.limit: Extra inputs"),
        ("- [", "expected"),
    ],
)
def test_bad_queries_are_told_with_their_place(text: str, problem: str) -> None:
    with pytest.raises(TerminalError, match=r"ConfigMap g, mine.yaml: ") as caught:
        parse({"mine.yaml": text}, "ConfigMap g")
    assert problem in caught.value.message
    assert caught.value.reason == "BadGoldenQueries"


def judge(session: Session, *checks: Check) -> Any:
    work: Any = SimpleNamespace(session=session, the_source=lambda: SimpleNamespace(name="blue"))
    return verify._judge(work, list(checks))


GOOD = Check("A", Verdict.PASSED, "fine")
OPEN = Check("B", Verdict.INCONCLUSIVE, "too few")
GATE = Check("C", Verdict.INCONCLUSIVE, "nothing to go by", gate=True)
BAD = Check("D", Verdict.FAILED, "3 missing")


def test_a_verdict_moves_on_or_holds() -> None:
    session = Session()
    assert judge(session, GOOD, OPEN).event is Event.VERIFIED
    failed = judge(session, GOOD, GATE, BAD)
    assert (failed.event, failed.detail) == (Event.FAILED, "D: 3 missing")


def test_a_gate_without_an_answer_pauses_longer_and_longer() -> None:
    session = Session()
    results = [judge(session, GOOD, OPEN, GATE) for _ in range(7)]
    assert [each.event for each in results] == [None] * 7
    assert [each.requeue_after for each in results] == [10, 20, 40, 80, 160, 300, 300]
    assert [len(each.notes) for each in results] == [1, 0, 0, 0, 0, 0, 0]
    assert results[0].notes[0].reason == "VerificationInconclusive"
    assert results[0].detail == "C: nothing to go by. Checked again in 10 s."
