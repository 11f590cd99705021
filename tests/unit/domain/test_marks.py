"""Marks are the only memory of a migration: kept exactly, ignored on clones, never guessed at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from teal.domain import marks
from teal.domain.marks import (
    Baseline,
    Declined,
    Fence,
    Hooks,
    Mark,
    Marks,
    Migration,
    Noted,
    Owner,
    Replaced,
    Watched,
)
from teal.domain.transitions import Stage
from tests.unit.domain.builders import metadata, schema

NAME = "docs-v1-00000000"
DIGEST = {"buckets": 1, "digests": "1" * 16}
times = st.floats(0, 1e12)
texts = st.text(max_size=20)
kinds = {
    Owner: st.builds(Owner, *[texts] * 7, times, adopted=st.booleans()),
    Migration: st.builds(
        Migration, texts, texts, st.sampled_from(Stage), st.none() | texts, times,
        attempt=st.integers(1, 99), stage_since=times, reason=st.none() | texts, message=st.none() | texts,
    ),
    Replaced: st.builds(Replaced, texts, times),
    Fence: st.builds(Fence, times, st.booleans(), st.none() | st.integers(1, 10**9)),
    Declined: st.builds(Declined, texts, texts, st.integers(1, 99), texts, texts, times, lifted=st.booleans()),
    Hooks: st.builds(Hooks, texts, st.integers(0, 99), times, texts, st.booleans()),
    Baseline: st.builds(Baseline, texts, st.lists(texts).map(tuple), times, times, times, st.booleans()),
    Watched: st.builds(Watched, texts, times, *[st.none() | times] * 4, st.none() | texts),
}  # fmt: skip


@given(st.one_of(*kinds.values()))
def test_a_mark_survives_json(mark: Mark) -> None:
    assert type(mark).from_json(json.loads(json.dumps(mark.as_json()))) == mark


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
        verdict={
            "planHash": "p",
            "verdict": "Passed",
            "checks": [{"name": "n", "verdict": "Passed", "message": ""}],
        },
        checkpoint={"buckets": 1, "digests": "0" * 16},
        **{"in_step/docs-0": {"here": DIGEST, "there": {"buckets": 2}}, "stale/docs-0": {"points": "x"}},
        encoder={"model": "m", "schemaVersion": "v1", "dimensions": 4, "url": None},
        declared={"indexes": ["a"], "quantization": True},
    )
    found = Marks.read(NAME, json.loads(json.dumps(written)))
    assert found.damaged is None
    assert found.owner == Owner.from_json(written[marks.OWNER])
    assert found.migration == Migration.from_json(written[marks.MIGRATION])
    assert found.replaced == Replaced("x", 5.0)
    assert found.fence == Fence(6.0, False, 100)
    for name in ("verdict", "checkpoint", "encoder", "declared"):
        assert getattr(found, name) == written[f"teal.dev/{name}"]
    assert found.in_step == {"docs-0": Noted(DIGEST, {"buckets": 2})}
    assert (found.stale, found.carried) == ({"docs-0": {"points": "x"}}, {})
    assert marks.keys_about(written, "docs-0") == ["teal.dev/in-step/docs-0", "teal.dev/stale/docs-0"]
    assert marks.keys_about(written, "docs-1") == []


@pytest.mark.parametrize("found", [None, {}, {"team": "search"}, {marks.OWNER: None}, {marks.OWNER: "me"}])
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
}


@pytest.mark.parametrize(("mark", "value"), DAMAGED.values(), ids=DAMAGED)
def test_what_cannot_be_read_is_said_and_not_guessed(mark: str, value: Any) -> None:
    written = metadata(NAME, schema(), **{mark: value})
    if value is None:
        del written[f"teal.dev/{mark}"]
    found = Marks.read(NAME, written)
    assert found.damaged is not None
    assert f"teal.dev/{mark}" in found.damaged
    assert not getattr(found, mark)


@pytest.mark.parametrize(
    ("mark", "value"), [("checkpoint", "lost"), ("in_step/docs-0", "lost"), ("in_step/docs-0", {"here": "lost"})]
)
def test_a_checkpoint_is_only_a_proof(mark: str, value: Any) -> None:
    found = Marks.read(NAME, metadata(NAME, schema(), **{mark: value}))
    assert found.damaged is None
    assert found.checkpoint is None
    assert found.in_step.get("docs-0", Noted()) == Noted()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = [value for name, value in vars(marks).items() if name.isupper() and isinstance(value, str)]
KEYS += [marks.about(key, "docs-0") for key in (marks.IN_STEP, marks.CARRIED, marks.STALE)]


@given(st.dictionaries(st.sampled_from(KEYS), anything), st.booleans())
def test_nothing_in_the_metadata_can_crash_the_reader(written: dict[str, Any], named: bool) -> None:
    if named:
        owner = written.get(marks.OWNER)
        written[marks.OWNER] = {**(owner if isinstance(owner, dict) else {}), "collection": NAME}
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
