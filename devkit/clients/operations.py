"""The writes of a writer: every kind of write of an application, on ids that only this writer uses.

An operation is a request that can be repeated without harm, and the change of the ledger after its
acknowledgement.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from devkit.clients.ledger import Held, Ledger, PointId
from devkit.corpus import Entry

Kind = Literal["insert", "upsert", "payload", "text", "vector", "delete"]
Request = tuple[str, str, dict[str, Any]]

WEIGHTS: dict[Kind, int] = {"insert": 25, "upsert": 20, "payload": 25, "text": 10, "vector": 5, "delete": 15}
# So many inserted points get a UUID, and so many the id of a point that was deleted before.
UUIDS = 0.3
REVIVED = 0.2

SET_PAYLOAD = "POST", "/points/payload?wait=true"
SET_VECTORS = "PUT", "/points/vectors?wait=true"
UPSERT = "PUT", "/points?wait=true"
DELETE = "POST", "/points/delete?wait=true"


@dataclass(frozen=True)
class Operation:
    """One write: `requests` in this order, given the vector of `text` (None: no vector is needed; it gets []).

    `acknowledged` notes it in the ledger; it takes the key of the encoder that made the vector.
    """

    kind: Kind
    point: PointId
    text: str | None
    requests: Callable[[list[float]], list[Request]]
    acknowledged: Callable[[str], None]


class Operations:
    """Draws the next operation of writer `number` of `writers`, over its ledger."""

    def __init__(
        self, number: int, writers: int, ledger: Ledger, entries: Sequence[Entry], rng: random.Random
    ) -> None:
        self._number = number
        self._writers = writers
        self._ledger = ledger
        self._entries = entries
        self._rng = rng
        self._revision = max((held.payload.get("n", 0) for held in ledger.points.values()), default=0)

    def draw(self) -> Operation:
        """The next operation; an insert where there is no point to change."""
        kind = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if self._ledger.points else "insert"
        self._revision += 1
        match kind:
            case "insert":
                return self._whole(kind, self._new_id())
            case "upsert":
                return self._whole(kind, self._any())
            case "payload":
                return self._payload(self._any())
            case "text":
                return self._text(self._any())
            case "vector":
                return self._vector(self._any())
            case "delete":
                return self._delete(self._any())

    def _whole(self, kind: Kind, point: PointId) -> Operation:
        payload = self._described() | {"n": self._revision, "writer": self._number}
        text = payload["text"]
        return Operation(
            kind,
            point,
            text,
            lambda vector: [(*UPSERT, {"points": [{"id": point, "payload": payload, "vector": vector}]})],
            lambda encoder: self._ledger.put(point, Held(payload, text, encoder)),
        )

    def _payload(self, point: PointId) -> Operation:
        """A part of the payload; what is not named stays."""
        held = self._ledger.points[point]
        change = {"n": self._revision}
        after = replace(held, payload=held.payload | change)
        return Operation(
            "payload",
            point,
            None,
            lambda _: [(*SET_PAYLOAD, {"payload": change, "points": [point]})],
            lambda _: self._ledger.put(point, after),
        )

    def _text(self, point: PointId) -> Operation:
        """Another text, and then its vector, as an application does that sends only what changed."""
        change = self._described() | {"n": self._revision}
        payload = self._ledger.points[point].payload | change
        text = payload["text"]
        return Operation(
            "text",
            point,
            text,
            lambda vector: [
                (*SET_PAYLOAD, {"payload": change, "points": [point]}),
                (*SET_VECTORS, {"points": [{"id": point, "vector": vector}]}),
            ],
            lambda encoder: self._ledger.put(point, Held(payload, text, encoder)),
        )

    def _vector(self, point: PointId) -> Operation:
        """A vector of another text: it shows whether a vector was copied or made again from the payload."""
        held = self._ledger.points[point]
        text = self._rng.choice(self._entries).text
        return Operation(
            "vector",
            point,
            text,
            lambda vector: [(*SET_VECTORS, {"points": [{"id": point, "vector": vector}]})],
            lambda encoder: self._ledger.put(point, replace(held, vector_of=text, encoder=encoder)),
        )

    def _delete(self, point: PointId) -> Operation:
        return Operation(
            "delete",
            point,
            None,
            lambda _: [(*DELETE, {"points": [point]})],
            lambda _: self._ledger.delete(point),
        )

    def _described(self) -> dict[str, Any]:
        entry = self._rng.choice(self._entries)
        return {"text": entry.text, "source": entry.source, "module": entry.module}

    def _any(self) -> PointId:
        return self._rng.choice(list(self._ledger.points))

    def _new_id(self) -> PointId:
        if self._ledger.deleted and self._rng.random() < REVIVED:
            return self._rng.choice(sorted(self._ledger.deleted, key=str))
        while True:
            point = self._fresh_id()
            if not any(point in ids for ids in (self._ledger.points, self._ledger.deleted, self._ledger.unsure)):
                return point

    def _fresh_id(self) -> PointId:
        if self._rng.random() < UUIDS:
            return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        # The remainder is the writer's: no other one draws it.
        return self._rng.getrandbits(40) * self._writers + self._number
