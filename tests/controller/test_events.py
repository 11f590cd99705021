"""Events keep within the API server's limits."""

from __future__ import annotations

from datetime import UTC, datetime

from teal.controller.events import EventPoster
from teal.migration.contract import Note
from tests.controller.fakes import FakeKube, ref


async def test_long_texts_and_names_are_cut_to_what_the_api_server_takes() -> None:
    kube = FakeKube()
    note = Note("Reason" * 100, "ü" * 2000, action="Act" * 100, warning=True)
    at = ref("n" * 253)
    await EventPoster(kube).post(at, "uid", [note], datetime(2026, 1, 1, tzinfo=UTC))
    ((name, event),) = kube.events.items()
    assert len(name) <= 253
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ü…")
    assert len(event["reason"]) <= 128
    assert len(event["action"]) <= 128
    assert event["type"] == "Warning"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
