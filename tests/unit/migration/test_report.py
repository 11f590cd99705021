"""The status says what was found, in the API's own shape, and never two things that exclude each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teal.api.manifest import parse
from teal.api.status import Phase, VectorCollectionStatus
from teal.api.vector_collection import VectorCollection
from teal.domain.errors import HeldError, TealError, TerminalError, TransientError
from teal.domain.marks import StoredVerdict
from teal.domain.observed import CollectionState
from teal.domain.ownership import ours
from teal.domain.plan import Desired
from teal.domain.policy import decide
from teal.domain.schema import Schema
from teal.domain.transitions import Event, Stage
from teal.domain.verdict import Check, Verdict
from teal.migration.clock import iso
from teal.migration.context import Result
from teal.migration.contract import Note, Resource
from teal.migration.copying.memory import Progress
from teal.migration.cutover.proof import LastCutover, Proof, in_words
from teal.migration.report import status as report
from teal.migration.report.conditions import conditions as conditions_of
from teal.migration.report.conditions import phase as phase_of
from teal.migration.report.record import ReconcileRecord, remember
from teal.migration.session import Session
from tests.unit.api.manifests import collection
from tests.unit.domain.builders import ALIAS, DAY, ME, NOW, desired, name_of, observed, planned, schema, state
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.domain.worlds import declarations, worlds

V1, V2, V3 = schema(), schema(version="v2"), schema(version="v3")
BLUE, GREEN = name_of(V1), name_of(V2)
MANIFEST = parse(collection())
assert isinstance(MANIFEST, VectorCollection)
RESOURCE = Resource(MANIFEST, None, ME.uid, ME.namespace, ME.name, generation=3)
LATER = NOW + 60


def found(
    wanted: Schema, *states: CollectionState, alias: str | None = None, error: TealError | None = None, **more: Any
) -> ReconcileRecord:
    """What a reconcile found, whose decision was made and perhaps ended in `error`."""
    given_ = desired(wanted, keep_for=DAY)
    names = {each.name for each in states}
    lesser = {"docs-v1": BLUE, "docs-v2": GREEN}
    seen = observed(*states, alias=alias, **{n: t for n, t in lesser.items() if t in names and t == alias})
    seen = planned(given_, seen)
    resource = more.pop("resource", RESOURCE)
    whole: dict[str, Any] = {"desired": given_, "observed": seen, "error": error, **more}
    if not isinstance(error, TerminalError):
        whole["decision"] = decide(given_, seen, NOW)
    return ReconcileRecord(resource, NOW, **whole)


def conditions(of: ReconcileRecord) -> dict[str, tuple[str, str]]:
    """Type → (status, reason)."""
    rows = conditions_of(of)
    assert len({row["type"] for row in rows}) == len(rows)
    return {row["type"]: (row["status"], row["reason"]) for row in rows}


def assert_sound(of: ReconcileRecord) -> None:
    """What holds for every status, whatever was found."""
    status = report.status(of)
    assert status["phase"] in get_args(Phase)
    known = VectorCollectionStatus.model_validate(status).dump()
    assert known == status, "a field that the CRD does not know would be pruned, a null would be refused"
    shown = conditions(of)
    assert not {"Reconciling", "Stalled"} <= shown.keys()
    assert all(shown[kind][0] == "True" for kind in ("Reconciling", "Stalled") if kind in shown)
    assert {"Ready", "Available"} <= shown.keys()
    if shown["Ready"][0] == "True":
        assert "Stalled" not in shown
        assert of.serving
        assert of.desired
        assert of.serving.revision == of.desired.schema.revision
    assert (shown["Available"][0] == "True") == (of.serving is not None)


SITUATIONS: dict[str, tuple[ReconcileRecord, str, tuple[str, str], tuple[str, str], str | None]] = {
    "nothing yet": (
        found(V1), "Provisioning", ("False", "Provisioning"), ("False", "AliasMissing"), "Reconciling",
    ),
    "the first revision": (
        found(V1, state(V1, Stage.INDEXING)), "Indexing", ("False", "Indexing"), ("False", "AliasMissing"),
        "Reconciling",
    ),
    "at rest": (
        found(V1, state(V1), alias=BLUE), "Ready", ("True", "Serving"), ("True", "AliasServes"), None,
    ),
    "at rest but for what a crash left, with an edit that is still to come": (
        found(V3, state(V1), state(V2), alias=GREEN), "Ready", ("False", "Ready"), ("True", "AliasServes"),
        "Reconciling",
    ),
    "migrating": (
        found(V2, state(V1), state(V2, Stage.CATCHING_UP), alias=BLUE), "CatchingUp", ("False", "CatchingUp"),
        ("True", "AliasServes"), "Reconciling",
    ),
    "held": (
        found(V2, state(V1), state(V2, Stage.HELD, reason="TextMissing", message="Point 7 has none."), alias=BLUE),
        "Held", ("False", "TextMissing"), ("True", "AliasServes"), "Stalled",
    ),
    "watching": (
        found(V2, state(V1, replaced=NOW), state(V2, Stage.WATCHING), alias=GREEN), "Watching",
        ("True", "Serving"), ("True", "AliasServes"), "Reconciling",
    ),
    "going back": (
        found(V1, state(V1, replaced=NOW), state(V2), alias=GREEN), "RollingBack", ("False", "RollingBack"),
        ("True", "AliasServes"), "Reconciling",
    ),
    "stalled while serving": (
        found(V2, state(V1), alias=BLUE, error=TerminalError("EmbedderRequired", "Give one.")), "Held",
        ("False", "EmbedderRequired"), ("True", "AliasServes"), "Stalled",
    ),
    "stalled from the start": (
        found(V2, error=TerminalError("AdoptNotFound", "None there.")), "Pending", ("False", "AdoptNotFound"),
        ("False", "AliasMissing"), "Stalled",
    ),
    "a step that failed for good": (
        found(V2, state(V1), state(V2, Stage.INDEXING), alias=BLUE, error=HeldError("StillServing", "It is.")),
        "Indexing", ("False", "StillServing"), ("True", "AliasServes"), "Stalled",
    ),
    "a step that will be tried again": (
        found(V2, state(V1), state(V2, Stage.PROMOTING), alias=BLUE, error=TransientError("FenceTooLong", "")),
        "Promoting", ("False", "FenceTooLong"), ("True", "AliasServes"), "Reconciling",
    ),
    "what cannot be retired yet": (
        found(
            V2, state(V1, replaced=0.0), state(V2), alias=GREEN,
            error=TransientError("RetirementBlocked", "Move it."),
            resource=replace(RESOURCE, status={"phase": "Promoting"}),
        ),
        "Ready", ("True", "Serving"), ("True", "AliasServes"), "Reconciling",
    ),
    "a held green that cannot be dropped": (
        found(
            V2, state(V1), state(V2, Stage.HELD, plan_hash="x", data_hash="before"), alias=BLUE,
            error=TransientError("StillServing", "Move it."), resource=replace(RESOURCE, status={"phase": "Held"}),
        ),
        "Held", ("False", "StillServing"), ("True", "AliasServes"), "Reconciling",
    ),
    "suspended": (
        replace(found(V2, state(V1), alias=BLUE), decision=None, suspended=True), "Suspended",
        ("Unknown", "Suspended"), ("True", "AliasServes"), None,
    ),
    "deleting": (
        found(V1, state(V1), alias=BLUE, resource=replace(RESOURCE, deleting=True)), "Deleting",
        ("True", "Serving"), ("True", "AliasServes"), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("of", "phase", "ready", "available", "busy"), SITUATIONS.values(), ids=SITUATIONS)
def test_what_is_shown(
    of: ReconcileRecord, phase: str, ready: tuple[str, str], available: tuple[str, str], busy: str | None
) -> None:
    shown = conditions(of)
    assert phase_of(of) == phase
    assert shown["Ready"] == ready
    assert shown["Available"] == available
    assert {"Reconciling", "Stalled"} & shown.keys() == ({busy} if busy else set())
    assert_sound(of)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), declarations, st.sampled_from([None, HeldError, TransientError]))
def test_every_world_can_be_reported(server: Qdrant, wanted: Desired, trouble: type[TealError] | None) -> None:
    seen = server.observe(wanted.alias, wanted.adopt)
    of = ReconcileRecord(RESOURCE, NOW, desired=wanted, observed=seen)
    try:
        of.decision = decide(wanted, seen, NOW)
        of.error = trouble("SomeTrouble", "What to do.") if trouble else None
    except TealError as error:
        of.error = error
    assert_sound(of)
    again = replace(of, now=LATER, resource=replace(RESOURCE, status=report.status(of)))
    assert report.status(again) == report.status(of), "the same look later writes nothing new"


class TestUnreachable:
    """Qdrant could not be asked: what was known stays, and is not sold as new."""

    BEFORE = report.status(SITUATIONS["migrating"][0])

    def unreachable(self, **more: Any) -> ReconcileRecord:
        error = TransientError("QdrantUnreachable", "No answer.")
        return ReconcileRecord(replace(RESOURCE, **more), LATER, desired=desired(V2), error=error)

    def test_the_first_time(self) -> None:
        of = self.unreachable()
        assert phase_of(of) == "Pending"
        assert conditions(of) == {
            "Ready": ("Unknown", "QdrantUnreachable"),
            "Available": ("Unknown", "QdrantUnreachable"),
            "Reconciling": ("True", "QdrantUnreachable"),
        }

    def test_in_the_middle_of_a_migration(self) -> None:
        status = report.status(self.unreachable(status=self.BEFORE))
        assert status["phase"] == "CatchingUp"
        for kept in ("active", "migration"):
            assert status[kept] == self.BEFORE[kept]

    def test_what_is_retained_stays_shown(self) -> None:
        before = report.status(SITUATIONS["watching"][0])
        assert report.status(self.unreachable(status=before))["retained"] == before["retained"]


class TestConditions:
    def test_a_condition_keeps_its_time_while_its_status_stays(self) -> None:
        first = report.status(SITUATIONS["migrating"][0])
        held = replace(SITUATIONS["held"][0], now=LATER, resource=replace(RESOURCE, status=first))
        times = {row["type"]: row["lastTransitionTime"] for row in conditions_of(held)}
        assert times == {"Ready": iso(NOW), "Available": iso(NOW), "Stalled": iso(LATER)}

    def test_they_are_about_a_generation(self) -> None:
        rows = conditions_of(SITUATIONS["at rest"][0])
        assert {row["observedGeneration"] for row in rows} == {3}

    def test_held_says_what_to_do(self) -> None:
        of = SITUATIONS["held"][0]
        assert of.decision
        (ready,) = (row for row in conditions_of(of) if row["type"] == "Ready")
        assert ready["message"] == (
            "Point 7 has none. Blue keeps serving. Change the spec, or annotate "
            f"teal.dev/retry={of.decision.plan.hash}-1 to try again."
        )

    @pytest.mark.parametrize(
        ("verdicts", "expected"),
        [
            ([Verdict.PASSED, Verdict.PASSED], ("True", "VerificationPassed", "2 of 2 checks passed.")),
            (
                [Verdict.PASSED, Verdict.FAILED],
                ("False", "VerificationFailed", "1 of 2 checks passed; check 1: said."),
            ),
        ],
    )
    def test_verified(self, verdicts: list[Verdict], expected: tuple[str, str, str]) -> None:
        checks = [Check(f"check {n}", verdict, "said") for n, verdict in enumerate(verdicts)]
        green = state(V2, Stage.VERIFYING)
        green = replace(green, marks=replace(green.marks, verdict=StoredVerdict.of("p", checks)))
        of = found(V2, state(V1), green, alias=BLUE)
        row = next(row for row in conditions_of(of) if row["type"] == "Verified")
        assert (row["status"], row["reason"], row["message"]) == expected
        assert report.status(of)["migration"]["verification"]["verdict"] == expected[1].removeprefix(
            "Verification"
        )
        assert_sound(of)


class TestSections:
    def test_active(self) -> None:
        active = report.status(found(V1, state(V1, stage_since=NOW - 5, points=7), alias=BLUE))["active"]
        assert active == {
            "collection": BLUE,
            "schemaVersion": "v1",
            "revision": V1.revision,
            "dimensions": 4,
            "distance": "Dot",
            "points": 7,
            "since": iso(NOW - 5),
        }

    def test_since_stays_as_long_as_the_collection(self) -> None:
        before = {"active": {"collection": BLUE, "since": iso(0)}}
        of = found(V1, state(V1, stage_since=NOW), alias=BLUE, resource=replace(RESOURCE, status=before))
        assert report.status(of)["active"]["since"] == iso(0)

    def test_retained(self) -> None:
        status = report.status(found(V2, state(V1, replaced=NOW), state(V2), alias=GREEN))
        assert status["retained"] == [
            {
                "collection": BLUE,
                "schemaVersion": "v1",
                "revision": V1.revision,
                "retainUntil": iso(NOW + DAY),
            }
        ]

    def test_a_migration_under_way(self) -> None:
        session = Session()
        progress = session.part(Progress)
        progress.total, progress.done, progress.rate = 200, 50, 12.34
        progress.throttled = "reads take 900 ms"
        of = found(V2, state(V1), state(V2, Stage.POPULATING), alias=BLUE, session=session)
        shown = report.status(of)["migration"]
        assert shown["progress"] == {
            "pointsDone": 50,
            "pointsTotal": 200,
            "percent": 25,
            "pointsPerSecond": 12.3,
            "etaSeconds": 12,
            "throttled": True,
            "throttleReason": "reads take 900 ms",
        }
        assert shown["reasons"] == ["schemaVersion: v1 → v2"]
        assert (shown["id"], shown["source"], shown["target"], shown["phase"]) == (
            f"{shown['planHash']}-1",
            BLUE,
            GREEN,
            "Populating",
        )
        assert_sound(of)

    def test_progress_does_not_pass_the_whole(self) -> None:
        session = Session()
        progress = session.part(Progress)
        progress.total, progress.done, progress.rate = 10, 30, 1.0
        of = found(V2, state(V1), state(V2, Stage.POPULATING), alias=BLUE, session=session)
        shown = report.status(of)["migration"]["progress"]
        assert (shown["percent"], shown["etaSeconds"]) == (100, 0)

    @pytest.mark.parametrize("stage", [None, Stage.POPULATING, Stage.PROMOTING])
    def test_a_first_revision_shows_how_far_it_is_until_it_serves(self, stage: Stage | None) -> None:
        session = Session()
        progress = session.part(Progress)
        progress.total, progress.done = 100, 25
        of = found(V1, *([state(V1, stage)] if stage else []), session=session)
        shown = report.status(of)["migration"]
        assert (shown["strategy"], shown["target"], shown["progress"]["percent"]) == ("Create", BLUE, 25)
        assert shown.get("id") == (f"{shown['planHash']}-1" if stage else None)
        assert not {"source", "writes"} & shown.keys()
        assert_sound(of)
        resource = replace(RESOURCE, status=report.status(of))
        assert "migration" not in report.status(found(V1, state(V1), alias=BLUE, resource=resource))

    def test_a_first_revision_that_failed_shows_its_id_and_why(self) -> None:
        held = state(V1, Stage.HELD, reason="TextMissing", message="Point 7 has none.")
        shown = report.status(found(V1, held))["migration"]
        assert shown["id"] == f"{shown['planHash']}-1"
        assert (shown["phase"], shown["lastError"]) == ("Held", "Point 7 has none.")

    def test_the_last_migration_stays_shown_on_what_it_made(self) -> None:
        under_way = report.status(found(V2, state(V1), state(V2, Stage.PROMOTING), alias=BLUE))
        resource = replace(RESOURCE, status=under_way)
        done = found(V2, state(V1, replaced=NOW), state(V2), alias=GREEN, resource=resource)
        assert report.status(done)["migration"] == under_way["migration"] | {"phase": "Ready"}
        reverted = found(V1, state(V1), alias=BLUE, resource=resource)
        assert "migration" not in report.status(reverted)

    @pytest.mark.parametrize("proof", [Proof("Quiet", None, (5,), (7,), 2), Proof("Fenced", "why", late_writes=1)])
    def test_the_proof_in_words(self, proof: Proof) -> None:
        session = Session()
        session.part(LastCutover).proof = proof
        of = found(V2, state(V1), state(V2, Stage.PROMOTING), alias=BLUE, session=session)
        shown = report.status(of)["migration"]["writes"]
        assert shown["proof"] == in_words(proof)
        assert shown["cutOver"] == proof.as_json()
        assert_sound(of)


class TestHistory:
    def finished(self, event: Event | None, *notes: Note, wanted: Schema = V2, **more: Any) -> ReconcileRecord:
        of = found(wanted, state(V1, **more), state(V2, Stage.PROMOTING), alias=BLUE)
        of.session.part(Progress).total = 9
        remember(of, Result(event, notes))
        return of

    def test_a_promotion(self) -> None:
        of = self.finished(Event.CUT_OVER, Note("CutoverCompleted", "Moved."))
        assert report.status(of)["history"] == [
            {
                "id": f"{of.decision.plan.hash if of.decision else None}-1",
                "from": BLUE,
                "to": GREEN,
                "outcome": "Promoted",
                "points": 9,
                "duration": "216h",
                "finishedAt": iso(NOW),
                "message": "Moved.",
            }
        ]
        assert_sound(of)

    def test_a_rollback(self) -> None:
        of = found(V1, state(V1, Stage.ROLLING_BACK, replaced=NOW), state(V2), alias=GREEN)
        remember(of, Result(notes=(Note("MigrationRolledBack", "Back."),), outcome="RolledBack"))
        (row,) = report.status(of)["history"]
        assert (row["from"], row["to"], row["outcome"]) == (GREEN, BLUE, "RolledBack")

    @pytest.mark.parametrize("event", [None, Event.POPULATED, Event.WATCHED])
    def test_anything_else_is_no_end(self, event: Event | None) -> None:
        assert "history" not in report.status(self.finished(event))

    def test_the_first_revision_is_no_migration(self) -> None:
        of = found(V1, state(V1, Stage.PROMOTING))
        remember(of, Result(Event.CUT_OVER))
        assert "history" not in report.status(of)

    def test_the_last_ten_newest_first_and_each_once(self) -> None:
        of = self.finished(Event.CUT_OVER)
        old = [{"from": "a", "to": "b", "outcome": "Promoted", "finishedAt": iso(n)} for n in range(10, 0, -1)]
        of = replace(of, resource=replace(RESOURCE, status={"history": old}))
        history = report.status(of)["history"]
        assert len(history) == report.HISTORY
        assert [row["finishedAt"] for row in history] == [iso(NOW), *(row["finishedAt"] for row in old[:-1])]
        again = replace(of, resource=replace(RESOURCE, status={"history": history}))
        assert report.status(again)["history"] == history


@pytest.mark.parametrize("detail", ["", "it waits for a window"])
def test_a_verified_green_waits_from_its_verdict_on(detail: str) -> None:
    """Not only once the gates were looked at, which is a step later."""
    waiting = found(V2, state(V1), state(V2, Stage.AWAITING_PROMOTION), alias=BLUE, detail=detail)
    assert conditions(waiting)["Ready"] == ("Unknown", "AwaitingPromotion")
    assert "Reconciling" not in conditions(waiting)


def test_the_outcome_carries_what_the_host_needs() -> None:
    of = found(V1, state(V1), alias=BLUE)
    of.notes = [Note("A", "a"), Note("B", "b")]
    of.requeue_after, of.endpoint, of.finished, of.failed = 7.0, "http://q", True, True
    made = report.outcome(of)
    assert made.status == report.status(of)
    assert (made.notes, made.requeue_after, made.endpoint) == ((Note("A", "a"), Note("B", "b")), 7.0, "http://q")
    assert made.finished
    assert made.failed


def test_what_somebody_else_serves_is_not_ours_to_show() -> None:
    theirs = state(V1, name="docs-x", identity=None)
    of = found(V1, theirs, alias="docs-x", error=TerminalError("AliasNotOwned", ""))
    assert not ours(theirs, ME)
    assert of.serving is None
    assert "active" not in report.status(of)
    assert of.observed
    assert of.observed.aliases[ALIAS] == "docs-x"
