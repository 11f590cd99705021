"""Recorded sessions, played again: the same requests in the same order, under names of this run's own.

A recording is one conversation, so a case can only be asked after all before it: `Replay.answer` sends whatever
is still missing. Names that were `rec…` carry a prefix nobody else uses, so that a shared server is not disturbed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.client import Answer, Rest

Json = Any

FOLDER = Path(__file__).with_name("recordings")
RECORDED_NAME = re.compile(r"\brec\b")
RECORDED_SNAPSHOT = re.compile(r"[\w-]+\.snapshot")
RECORDED_SNAPSHOT_FOLDER = "file:///snapshots/"


@dataclass(frozen=True)
class Case:
    """One recorded request and what a real server answered to it."""

    name: str
    method: str
    path: str
    body: Json
    status: int
    response: Json

    @classmethod
    def parse(cls, line: str) -> Case:
        entry = json.loads(line)
        request = entry["request"]
        return cls(
            name=entry["case"],
            method=request["method"],
            path=request["path"],
            body=request.get("body"),
            status=entry["status"],
            response=entry["response"],
        )


def recordings() -> dict[tuple[int, int], list[str]]:
    """The lines of each recording, by the (major, minor) of the server that answered."""
    found = {}
    for file in sorted(FOLDER.glob("qdrant-*.jsonl")):
        major, minor, _ = file.stem.removeprefix("qdrant-").split(".")
        found[int(major), int(minor)] = file.read_text().splitlines()
    return found


def nearest(version: tuple[int, int]) -> list[str]:
    """The recording of the newest server that is not newer than `version`; the oldest, when all are."""
    known = recordings()
    return known[max((v for v in known if v <= version), default=min(known))]


class Replay:
    """One recorded session against one server.

    `snapshots` is the server's own folder of snapshots, which a recovery has to name.
    """

    def __init__(self, rest: Rest, prefix: str, snapshots: str) -> None:
        self._rest = rest
        self.prefix = prefix
        self._snapshots = snapshots
        lines = nearest(rest.version())
        self.cases = [Case.parse(RECORDED_NAME.sub(prefix, line)) for line in lines]
        self._answers: list[Answer] = []
        self._snapshot = "no-snapshot-was-made"

    def answer(self, index: int) -> Answer:
        """What the server says to case `index`, after all cases before it."""
        while len(self._answers) <= index:
            self._answers.append(self._ask(self.cases[len(self._answers)]))
        return self._answers[index]

    def _ask(self, case: Case) -> Answer:
        content = None if case.body is None else self._as_it_is_here(json.dumps(case.body))
        answer = self._rest.send(case.method, self._as_it_is_here(case.path), content)
        if case.name == "create snapshot" and answer.status == 200:
            self._snapshot = answer.result["name"]
        return Answer(answer.status, self._excerpt(case, answer), answer.headers)

    def _as_it_is_here(self, text: str) -> str:
        text = text.replace(RECORDED_SNAPSHOT_FOLDER, f"file://{self._snapshots}/")
        return RECORDED_SNAPSHOT.sub(self._snapshot, text)

    def _excerpt(self, case: Case, answer: Answer) -> Json:
        """The part of a server-wide answer that is about this session, as the recorder cut it out."""
        cut = EXCERPTS.get(case.path)
        return cut(answer.body, self.prefix) if cut and answer.status == 200 else answer.body


def _own_aliases(body: Json, prefix: str) -> Json:
    aliases = [alias for alias in body["result"]["aliases"] if alias["alias_name"].startswith(prefix)]
    return {**body, "result": {"aliases": aliases}}


def _own_telemetry(body: Json, prefix: str) -> Json:
    collections = body["result"]["collections"]["collections"]
    return [entry for entry in collections if entry["id"] == f"{prefix}-blue"]


EXCERPTS: dict[str, Callable[[Json, str], Json]] = {
    "/aliases": _own_aliases,
    "/telemetry?details_level=3": _own_telemetry,
}
