"""Marks are the only memory of a migration: kept exactly, ignored on clones, never guessed at."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from teal.domain.marks import (
    Baseline,
    Carried,
    Checkpoint,
    CutoverBegun,
    Declared,
    Declined,
    Encoder,
    Fence,
    Frozen,
    Hooks,
    InStep,
    Mark,
    Marks,
    Migration,
    Owner,
    PairMark,
    Replaced,
    SideNote,
    Snapshots,
    Stale,
    StoredCheck,
    StoredSnapshot,
    StoredVerdict,
    Watched,
)
from teal.domain.stale import BloomFilter
from teal.domain.transitions import Stage
from teal.domain.verdict import Verdict
from tests.unit.domain.builders import metadata, schema

NAME = "docs-v1-00000000"
SUMS = {"buckets": 1, "ids": "x", "contents": "y", "unproven": []}
NOTE = {"instance": "5.0", "epoch": "e", "floors": [[1, 2], None], "contents": SUMS}
CHECK = {"name": "n", "verdict": "Passed", "message": "", "observed": "1.0", "samples": ["7"]}
times = st.floats(0, 1e12)
texts = st.text(max_size=20)
sums = st.dictionaries(texts, st.integers(0, 9) | texts, max_size=3)
kinds = {
    Owner: st.builds(Owner, *[texts] * 8, times, adopted=st.booleans()),
    Migration: st.builds(
        Migration, texts, texts, st.sampled_from(Stage), st.none() | texts, times,
        attempt=st.integers(1, 99), stage_since=times, reason=st.none() | texts, message=st.none() | texts,
    ),
    Replaced: st.builds(Replaced, texts, times),
    Snapshots: st.builds(Snapshots, st.lists(st.builds(StoredSnapshot, texts, texts)).map(tuple)),
    Fence: st.builds(
        Fence,
        times,
        st.booleans(),
        st.none() | st.integers(1, 10**9),
        st.dictionaries(texts, st.integers() | st.booleans(), max_size=2),
        st.none() | st.integers(1, 9),
    ),
    Declined: st.builds(Declined, texts, texts, st.integers(1, 99), texts, texts, times, lifted=st.booleans()),
    Hooks: st.builds(Hooks, texts, st.integers(0, 99), times, texts, st.booleans()),
    Baseline: st.builds(Baseline, texts, st.lists(texts).map(tuple), times, times, times, st.booleans()),
    Watched: st.builds(Watched, texts, times, *[st.none() | times] * 4, st.none() | texts),
    Frozen: st.builds(Frozen, texts, texts),
    CutoverBegun: st.builds(CutoverBegun, texts),
    Checkpoint: st.builds(Checkpoint, texts, sums),
    StoredVerdict: st.builds(
        StoredVerdict, texts, st.sampled_from(Verdict),
        st.lists(st.builds(StoredCheck, texts, st.sampled_from(Verdict), texts, st.none() | texts)).map(tuple),
    ),
}  # fmt: skip
numbers = st.integers(-1, 2**40)
floors = st.lists(st.none() | st.tuples(numbers, numbers), max_size=3).map(tuple)
proofs = st.none() | st.builds(SideNote, texts, texts, floors, sums)
lenient = {
    Encoder: st.builds(Encoder, st.none() | texts, texts, st.none() | st.integers(1, 9999), st.none() | texts),
    Declared: st.builds(Declared, st.lists(texts).map(tuple), st.booleans()),
}
"""What an application may have written itself, or may lack."""
about_another = {
    InStep: st.builds(InStep, texts, proofs, proofs, times),
    Carried: st.builds(Carried, texts, st.dictionaries(texts, st.dictionaries(texts, texts))),
    Stale: st.builds(Stale, texts, texts),
}


@given(st.one_of(*kinds.values(), *lenient.values()))
def test_a_mark_survives_json(mark: Mark) -> None:
    assert type(mark).from_json(json.loads(json.dumps(mark.as_json()))) == mark


@given(st.one_of(*about_another.values()))
def test_a_mark_about_another_collection_names_it_in_its_key_alone(mark: PairMark) -> None:
    written = json.loads(json.dumps(mark.as_json()))
    assert type(mark).read_about(mark.partner, written) == mark
    assert mark.key == f"{mark.KEY}/{mark.partner}"
    assert "partner" not in written


def test_what_clients_are_told_about_the_encoder() -> None:
    assert Encoder("m", "v2", 4).as_json() == {"model": "m", "schemaVersion": "v2", "dimensions": 4, "url": None}


def test_json_of_what_has_no_nulls() -> None:
    assert Checkpoint("e", SUMS).as_json() == {"epoch": "e", "sums": SUMS}
    note = SideNote("5.0", "e", ((1, 2), None), SUMS)
    assert InStep("docs-0", note, replace(note, floors=())).as_json() == {
        "here": NOTE,
        "there": {**NOTE, "floors": []},
        "at": 0.0,
    }
    assert Carried("docs-0/3", {"docs-1": {"1": "2f", "uuid": ""}}).as_json() == {
        "docs-1": {"1": "2f", "uuid": ""}
    }
    assert StoredVerdict("p", Verdict.PASSED, (StoredCheck.from_json(CHECK),)).as_json()["checks"] == [CHECK]


def test_json_is_camel_case() -> None:
    assert Migration("p", "d", Stage.HELD, None, 1.0).as_json() == {
        "planHash": "p",
        "dataHash": "d",
        "stage": "Held",
        "source": None,
        "startedAt": 1.0,
        "attempt": 1,
        "stageSince": 0.0,
        "reason": None,
        "message": None,
        "anew": False,
        "copied": None,
    }


def test_a_server_may_drop_nulls_and_a_newer_teal_may_add_keys() -> None:
    json = {"planHash": "p", "dataHash": "d", "stage": "Held", "startedAt": 1, "shard": 7}
    assert Migration.from_json(json) == Migration("p", "d", Stage.HELD, None, 1.0)
    assert Fence.from_json({"at": 1, "enabled": True}) == Fence(1.0, True, None)


@pytest.mark.parametrize("kind", kinds)
def test_nothing_that_decides_has_a_silent_default(kind: type[Mark]) -> None:
    with pytest.raises(ValidationError):
        kind.from_json({})


def test_all_marks_of_a_collection() -> None:
    written = metadata(
        NAME,
        schema(),
        replaced={"by": "x", "at": 5},
        fence={"at": 6, "enabled": False, "writeRateLimit": 100},
        verdict={"planHash": "p", "verdict": "Passed", "checks": [CHECK]},
        checkpoint={"epoch": "e", "sums": SUMS},
        **{"in_step/docs-0": {"here": NOTE, "there": {"epoch": "e"}}, "stale/docs-0": {"points": "x"}},
        **{
            "carried/docs-1/0": {"docs-1": {"1": "2f"}},
            "frozen": {"fingerprint": "f"},
            "cutover_begun": {"source": "docs-0"},
        },
        encoder={"model": "m", "schemaVersion": "v1", "dimensions": 4, "url": None},
        declared={"indexes": ["a"], "quantization": True},
    )
    found = Marks.read(NAME, json.loads(json.dumps(written)))
    assert found.damaged is None
    assert found.owner == Owner.from_json(written[Owner.KEY])
    assert found.migration == Migration.from_json(written[Migration.KEY])
    assert found.replaced == Replaced("x", 5.0)
    assert found.fence == Fence(6.0, False, 100)
    assert found.verdict == StoredVerdict("p", Verdict.PASSED, (StoredCheck.from_json(CHECK),))
    assert found.checkpoint == Checkpoint("e", SUMS)
    assert found.encoder == Encoder("m", "v1", 4)
    assert found.declared == Declared(("a",), quantization=True)
    assert found.in_step == {"docs-0": InStep("docs-0", SideNote("5.0", "e", ((1, 2), None), SUMS), None)}
    assert found.stale == {"docs-0": Stale("docs-0", "x")}
    assert found.carried_about("docs-1") == [Carried("docs-1/0", {"docs-1": {"1": "2f"}})]
    assert (found.frozen, found.cutover_begun) == (Frozen("f", ""), CutoverBegun("docs-0"))
    assert found.keys_about("docs-0") == ["teal.dev/in-step/docs-0", "teal.dev/stale/docs-0"]
    assert found.keys_about("docs-1") == ["teal.dev/carried/docs-1/0"]
    assert found.keys_about("docs-2") == []


@pytest.mark.parametrize("found", [None, {}, {"team": "search"}, {Owner.KEY: None}, {Owner.KEY: "me"}])
def test_a_collection_without_an_owner_has_no_marks(found: Any) -> None:
    assert Marks.read(NAME, found) == Marks()


def test_the_marks_of_a_clone_are_ignored_even_if_they_are_damaged() -> None:
    written = metadata(NAME, schema(), fence="raised", replaced={"by": "x", "at": 5})
    assert Marks.read("restored-elsewhere", written) == Marks()


DAMAGED = {
    "a stage of a newer version": (
        "migration",
        {"planHash": "p", "dataHash": "d", "stage": "Tuning", "startedAt": 1},
    ),
    "a migration without its plan": ("migration", {"stage": "Ready", "startedAt": 1}),
    "a migration that is a word": ("migration", "Ready"),
    "an attempt and a half": (
        "migration",
        {"planHash": "p", "dataHash": "d", "stage": "Held", "startedAt": 1, "attempt": 1.5},
    ),
    "no migration": ("migration", None),
    "an owner without a uid": ("owner", {"collection": NAME}),
    "an owner whose uid is a number": (
        "owner",
        {"collection": NAME, "uid": 7, "revision": "r", "schemaVersion": "v1"},
    ),
    "an owner without a revision": ("owner", {"collection": NAME, "uid": "u", "schemaVersion": "v1"}),
    "replaced at no time": ("replaced", {"by": "x", "at": "yesterday"}),
    "replaced at infinity": ("replaced", {"by": "x", "at": float("inf")}),
    "a fence that does not know how to be lifted": ("fence", {"at": 1}),
    "a verdict without checks": ("verdict", {"planHash": "p", "verdict": "Failed"}),
    "a verdict of nameless checks": ("verdict", {"planHash": "p", "verdict": "Failed", "checks": [{}]}),
    "declared indexes that are a word": ("declared", {"indexes": "tenant"}),
    "an encoder that is a word": ("encoder", "minilm"),
    "a model that is a number": ("encoder", {"model": 3}),
    "a check of a verdict that nobody knows": (
        "verdict",
        {"planHash": "p", "verdict": "Passed", "checks": [{"name": "n", "verdict": "Odd", "message": ""}]},
    ),
    "a promise without a fingerprint": ("frozen", {}),
    "a cut-over from nowhere": ("cutover_begun", {"target": "docs-1"}),
    "carried points that are a word": ("carried/docs-0", {"docs-0": "all"}),
    "carried points that are no ids": ("carried/docs-0", {"docs-0": {"1": 1.5}}),
    "no write-ahead log": ("carried/docs-0", "lost"),
}


@pytest.mark.parametrize(("mark", "value"), DAMAGED.values(), ids=DAMAGED)
def test_what_cannot_be_read_is_said_and_not_guessed(mark: str, value: Any) -> None:
    written = metadata(NAME, schema(), **{mark: value})
    if value is None:
        del written[f"teal.dev/{mark}"]
    found = Marks.read(NAME, written)
    assert found.damaged is not None
    assert f"teal.dev/{mark.replace('_', '-')}" in found.damaged
    read = getattr(found, mark.partition("/")[0])
    assert read in (None, {}, Declared())


@pytest.mark.parametrize(
    ("mark", "value"), [("checkpoint", "lost"), ("in_step/docs-0", "lost"), ("in_step/docs-0", {"here": "lost"})]
)
def test_a_checkpoint_is_only_a_proof(mark: str, value: Any) -> None:
    found = Marks.read(NAME, metadata(NAME, schema(), **{mark: value}))
    assert found.damaged is None
    assert found.checkpoint is None
    assert found.in_step.get("docs-0", InStep("docs-0")) == InStep("docs-0")


def test_where_it_cannot_be_read_which_vectors_are_stale_all_are_taken_to_be() -> None:
    found = Marks.read(NAME, metadata(NAME, schema(), **{"stale/docs-0": "lost"}))
    assert found.damaged is None
    assert b"1" in BloomFilter.read(found.stale["docs-0"])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS: list[str] = [kind.KEY for kind in (*kinds, *lenient)]
KEYS += [kind.about("docs-0") for kind in about_another]


@given(st.dictionaries(st.sampled_from(KEYS), anything), st.booleans())
def test_nothing_in_the_metadata_can_crash_the_reader(written: dict[str, Any], named: bool) -> None:
    if named:
        owner = written.get(Owner.KEY)
        written[Owner.KEY] = {**(owner if isinstance(owner, dict) else {}), "collection": NAME}
    Marks.read(NAME, written)


def test_a_retry_has_another_id() -> None:
    first = Migration("plan", "d", Stage.HELD, None, 1.0)
    assert first.id == "plan-1"
    assert Migration("plan", "d", Stage.HELD, None, 1.0, attempt=2).id == "plan-2"


def test_the_next_stage_forgets_why_the_last_one_was_held() -> None:
    held = Migration("p", "d", Stage.VERIFYING, "blue", 1.0).at(Stage.HELD, 2.0, "VerificationFailed", "3 missing")
    assert (held.stage, held.stage_since, held.reason, held.message) == (
        Stage.HELD,
        2.0,
        "VerificationFailed",
        "3 missing",
    )
    again = held.at(Stage.POPULATING, 3.0)
    assert (again.stage_since, again.reason, again.message, again.source) == (3.0, None, None, "blue")
