"""An application that writes through an alias, and remembers what it was told is stored.

A write finds out what the alias points at when it begins, and lands there when it lands: in between the alias may
have moved. It writes a point only when its last write to it has been answered, and changes or deletes only what
it sees, so what has to be stored in the end is never in doubt.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from qdrant_client import grpc as qdrant

from teal.domain.observed import CollectionState
from teal.domain.schema import version_alias
from teal.qdrant import wire
from teal.qdrant.wire import RawId
from tests.unit.domain.worlds import SIZES
from tests.unit.migration.fake_qdrant import FakeQdrant, Stored
from tests.unit.migration.fake_qdrant.answers import Admitted, Refused

TIMEOUT = 60.0
"""Seconds after which a write that has not landed is given up by client and server alike."""

Payload = Mapping[str, Any]


@cache
def encode(model: str | None, size: int, text: str) -> wire.Floats:
    """The vector of length 1 that `model` makes of `text`."""
    row = np.random.default_rng(zlib.crc32(f"{model}/{size}/{text}".encode())).normal(size=size)
    return (row / np.linalg.norm(row)).astype(np.float32)


@cache
def entries(text: str, n: int) -> tuple[bytes, ...]:
    """A payload as it is stored."""
    payload = {"text": qdrant.Value(string_value=text), "n": qdrant.Value(integer_value=n)}
    message = qdrant.PointStruct(payload=payload).SerializeToString()
    return tuple(sorted(wire.PointStruct.FromString(message).payload))


MODELS = {size: model for model, size in SIZES.items()}


def stored(payload: Payload, collection: CollectionState) -> Stored:
    main, encoder = collection.schema.vectors[0], collection.marks.encoder
    model = (encoder.model if encoder else None) or MODELS[main.size]
    return _stored(model, main.size, payload["text"], payload["n"])


@cache
def _stored(model: str, size: int, text: str, n: int) -> Stored:
    return Stored(entries(text, n), wire.dense_vectors([encode(model, size, text)])[0])


@dataclass(frozen=True)
class Write:
    """One that was sent to `collection` and has not been answered; `payload` is `None` for a deletion."""

    point: RawId
    payload: Payload | None
    collection: str
    began: float
    admitted: Admitted


class Application:
    def __init__(self, server: FakeQdrant, alias: str, calls: Callable[[], int]) -> None:
        self._server, self._alias, self._calls = server, alias, calls
        self.told: dict[RawId, Payload] = {}
        self.landed: dict[RawId, int] = {}
        self.late: dict[RawId, str] = {}
        self.doubtful: set[RawId] = set()
        self.pending: list[Write] = []
        self.refused = 0
        self.failed = 0
        self.wait = True
        """Whether a write is answered when it is applied, or already when it is in the log."""
        self.peer = 0
        """The peer that it talks to."""
        self.unanswered: set[RawId] = set()
        self._count = 0

    # Writing

    def write(self, what: str, number: int, version: str | None = None, *, looks: bool = True) -> None:
        """Send a write, and have it answered. Without `looks` a point is deleted whatever is seen of it."""
        if self.begin(what, number, version, looks=looks):
            self.land(len(self.pending) - 1)

    def begin(
        self, what: str, number: int, version: str | None = None, *, looks: bool = True, name: str | None = None
    ) -> bool:
        """Send a write through the alias, or that of a version: what it points at now is where it will land.

        `name`: to the collection of this name, through no alias.
        """
        point, shown = wire.raw_id(number), self._server.view(self.peer)
        name = name or shown.aliases.get(version_alias(self._alias, version) if version else self._alias)
        if name is None or name not in self._server.shards or self._is_open(point):
            return False
        payload = self._payload(what, point)
        if payload is None and what != "delete":
            return False
        if looks and what != "upsert" and not self.sees(point, name):
            return False
        admitted = self._admitted(name, point)
        if admitted is not None:
            self.pending.append(Write(point, payload, name, self._server.now(), admitted))
        return admitted is not None

    def _is_open(self, point: RawId) -> bool:
        """Whether it is not known yet what the last write to it came to."""
        return point in self.doubtful | self.unanswered or any(write.point == point for write in self.pending)

    def _admitted(self, name: str, point: RawId) -> Admitted | None:
        try:
            admitted = self._server.admit(name, [point], self.peer)
        except Refused:
            self.failed += 1
            return None
        self.refused += admitted is None
        return admitted

    def _payload(self, what: str, point: RawId) -> Payload | None:
        self._count += 1
        if what == "upsert":
            return {"text": f"text {self._count}", "n": self._count}
        before = self.told.get(point)
        return {**before, "n": self._count} if what == "change" and before else None

    def land(self, index: int) -> None:
        """The write reaches its collection; when it is answered it is stored, to the application's mind."""
        write = self.pending.pop(index)
        if write.collection not in self._server.shards:
            return
        state = self._server.state(write.collection)
        changed = stored(write.payload, state) if write.payload is not None else None
        if not write.admitted.acknowledges:
            self.doubtful.add(write.point)
        try:
            sent = self._server.write(
                write.collection, {write.point: changed}, wait=self.wait, admitted=write.admitted
            )
        except Refused:
            self.failed += 1
            return
        self.unanswered.add(write.point)
        self._server.when_acknowledged(sent, lambda: self._answered(write))

    def _answered(self, write: Write) -> None:
        self.unanswered.discard(write.point)
        if write.payload is None:
            self.told.pop(write.point, None)
        else:
            self.told[write.point] = write.payload
        self.landed[write.point] = self._calls()
        self.late.pop(write.point, None)
        if self._server.aliases.get(self._alias) != write.collection:
            self.late[write.point] = write.collection

    def give_up(self) -> None:
        """What takes too long never lands."""
        self.pending = [write for write in self.pending if self._server.now() - write.began < TIMEOUT]

    def forget(self, point: RawId) -> None:
        """It was written to a collection that is kept, but no longer kept in step: nobody can tell what holds."""
        self.late.pop(point, None)
        self.doubtful.add(point)

    def take_stock(self, name: str) -> None:
        """Begin with what is in the collection `name`: that is what has to stay stored."""
        for point, found in self._server.points(name).items():
            payload = {field: wire.payload_value(found.payload, field) for field in ("text", "n")}
            self.told[point], self.landed[point] = payload, self._calls()

    # Comparing

    def sees(self, point: RawId, name: str) -> bool:
        """Whether the collection `name` has the point, as it should be."""
        found = self._server.points(name).get(point)
        return point in self.told and not self._wrong(point, found, self._server.state(name))

    def wrong(self, name: str) -> set[RawId]:
        """All points that are not in the collection as they should be."""
        return set[RawId]().union(*(self._wrong_in(name, there) for there in self._server.copies(name)))

    def _wrong_in(self, name: str, there: Mapping[RawId, Stored]) -> set[RawId]:
        state = self._server.state(name)
        points = {*self.told, *there} - self.doubtful - self.unanswered
        return {p for p in points if self._wrong(p, there.get(p), state)}

    def _wrong(self, point: RawId, found: Stored | None, state: CollectionState) -> bool:
        payload = self.told.get(point)
        if found is None or payload is None:
            return (found is None) != (payload is None)
        right = stored(payload, state)
        if tuple(sorted(found.payload)) != right.payload:
            return True
        if found.vectors == right.vectors:
            return False
        there, wanted = (wire.read_dense(each.vectors, "") for each in (found, right))
        return there is None or not np.allclose(there, wanted, atol=1e-6)

    def describe(self, points: set[RawId], name: str) -> str:
        there = self._server.points(name)
        return "; ".join(
            f"{wire.plain_id(p)}: told {self.told.get(p)}, {name} has {_shown(there.get(p))}"
            for p in sorted(points)
        )


def _shown(found: Stored | None) -> Any:
    if found is None:
        return None
    return {field: wire.payload_value(found.payload, field) for field in ("text", "n")}
