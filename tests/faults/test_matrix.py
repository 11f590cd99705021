"""Every fault of the matrix has a test: its row is named by the marker `fault`, wherever in `tests/` that is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = {
    1: "killed between any effect and the status that tells of it",
    2: "a checkpoint that is ahead of what was durably written",
    3: "a newer or an older operator takes over in the midst of a copy",
    4: "a plan is asked for while a migration is under way",
    5: "Qdrant restarts, or loses a replica, while copying, indexing or verifying",
    6: "Qdrant fails after the copy and before the cut-over",
    7: "the answer to the cut-over is lost, or one peer lags behind",
    8: "the API server is out of reach, or the Lease is lost in the midst of a batch",
    9: "two operators, or two clusters with one Qdrant",
    10: "two resources with one alias, and the loser is deleted",
    11: "the spec is edited in each stage, and right after the cut-over",
    12: "aborted, retried, aborted again",
    13: "verification fails, and the operator restarts",
    14: "what a gate or the throttle asks is down, slow or empty",
    15: "green gets worse while a gate is open",
    16: "throttled for hours",
    17: "a storm of writes and deletions through copy, catch-up and cut-over",
    18: "two ids become one, a point is poison, the source ends too early",
    19: "disk, memory, a quota or a budget is used up",
    20: "a collection or an alias is deleted or moved by hand",
    21: "the resource, its namespace, the definitions or the operator are deleted",
    22: "the resource comes back with an empty status, or under another UID",
    23: "clocks that are wrong, or jump",
    24: "rolled back in the last second before retirement",
    25: "credentials change in the midst of a copy",
    26: "a status that is too large",
}


def marked(path: Path) -> Iterator[int]:
    """N of each `pytest.mark.fault(N)` in a file, on tests, on parameters or on all of it."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(ast.Attribute(attr="mark"), "fault"), args=rows):
                yield from (row.value for row in rows if isinstance(row, ast.Constant))


def covered() -> set[int]:
    return {row for path in TESTS.rglob("test_*.py") for row in marked(path)}


def test_each_fault_has_a_test() -> None:
    found = covered()
    assert [f"{row}: {title}" for row, title in ROWS.items() if row not in found] == []


def test_no_test_names_a_fault_that_there_is_not() -> None:
    assert covered() <= ROWS.keys()
