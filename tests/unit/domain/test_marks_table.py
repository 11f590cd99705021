"""Every mark has its row, and goes when nothing is decided from it any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from teal import migration
from teal.domain.marks import Baseline, Checkpoint, CutoverBegun, Frozen, Hooks, Mark, Replaced, Snapshots, Watched
from teal.domain.marks.table import ENTERING, TABLE, Row, cleared_on
from teal.domain.transitions import HAS_SERVED, Stage

HOME = Path(migration.__file__).parent
WITH_THE_CUTOVER = {Snapshots.KEY, Checkpoint.KEY, Frozen.KEY, CutoverBegun.KEY, Replaced.KEY}
WITH_THE_WATCH = {Hooks.KEY, Baseline.KEY, Watched.KEY}


def kinds(of: type[Mark] = Mark) -> Iterator[type[Mark]]:
    for kind in of.__subclasses__():
        if "KEY" in vars(kind):
            yield kind
        yield from kinds(kind)


def test_each_mark_has_one_row_and_one_key() -> None:
    assert len(list(kinds())) == len({kind.KEY for kind in kinds()}) == len(TABLE)
    assert {row.kind for row in TABLE} == set(kinds())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kind.__name__)
def test_the_modules_of_a_row_are_there(row: Row) -> None:
    assert row.written_by
    for module in (*row.written_by, *row.clearing):
        assert (HOME / f"{module}.py").is_file(), module


@pytest.mark.parametrize("stage", Stage)
def test_what_goes_with_the_cutover_and_what_goes_with_the_watch(stage: Stage) -> None:
    expected = {
        Stage.WATCHING: WITH_THE_CUTOVER,
        Stage.READY: WITH_THE_CUTOVER | WITH_THE_WATCH,
    }.get(stage, set())
    assert set(cleared_on(stage)) == expected


def test_nothing_goes_before_the_alias_has_moved() -> None:
    assert not any(cleared_on(stage) for stage in set(Stage) - HAS_SERVED)


def test_whoever_writes_a_stage_clears_what_ends_by_it() -> None:
    assert all(set(ENTERING) <= set(row.clearing) for row in TABLE if row.until)
