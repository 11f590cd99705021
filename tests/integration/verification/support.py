"""A pair of collections that are equal, to be sabotaged in one thing at a time and put right again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teal.domain.carry import effective
from teal.domain.keys import RawId
from teal.domain.observed import CollectionState
from teal.domain.tuning import Tuning
from teal.domain.verdict import Check, Verdict
from teal.migration.copying.scratch import Scratch
from teal.migration.verification.checks import ask_all
from teal.migration.verification.comparison import Comparison, Side
from teal.migration.verification.known import listed
from teal.qdrant import wire
from teal.qdrant.pool import Server
from teal.qdrant.wire import Floats, RawPoint
from teal.sources.embedder import Embedded

POINTS, SIZE, TENANTS = 400, 16, 8
INDEXED = {"vectors": {"size": SIZE, "distance": "Cosine"}, "optimizers_config": {"indexing_threshold": 1}}
TENANT = {"type": "keyword", "is_tenant": True}
SCRATCH = Scratch()


def text_of(point: int) -> str:
    return f"text number {point}"


def vector_of(text: str, salt: int = 0, size: int = SIZE) -> Floats:
    """What the encoder `salt` makes of a text: unit vectors in unrelated directions."""
    seed = int.from_bytes(text.encode(), "big") % 2**32
    row = np.random.default_rng([seed, salt]).standard_normal(size).astype(np.float32)
    unit: Floats = row / np.linalg.norm(row)
    return unit


class FakeEncoder:
    """An encoder that is a function."""

    def __init__(self, salt: int = 0) -> None:
        self._salt = salt

    async def embed(self, texts: Sequence[str], **_: bool) -> Embedded:
        return Embedded(np.stack([vector_of(text, self._salt) for text in texts]), 0, estimated=False)


def payload_of(point: int) -> dict[str, Any]:
    nested = {"b": {"x": 1, "y": [1, {"p": point, "q": None}]}, "a": "z"}
    return {"text": text_of(point), "tenant": f"t{point % TENANTS}", "n": point, "nested": nested}


@dataclass
class Pair:
    """Blue and a green that is its copy."""

    server: Server
    blue: str
    green: str

    async def create(self, name: str, body: Mapping[str, Any] = INDEXED, *, salt: int = 0) -> None:
        """A collection with the pair's points and tenant index, and everything indexed that is to be."""
        await self.server.admin.create(name, body)
        await self.put(name, *({"id": n, "vector": vector_of(text_of(n), salt).tolist()} for n in range(POINTS)))
        await self.server.admin.create_index(name, "tenant", TENANT)
        ready = 0
        while ready < 3:
            ready = ready + 1 if (await self.server.admin.ready(name)).ready else 0
            await asyncio.sleep(0.05)

    async def put(self, name: str, *points: Mapping[str, Any]) -> None:
        """Write points as an application does; they have the payload that is theirs unless they bring one."""
        whole = [{"payload": payload_of(each["id"]), **each} for each in points]
        await self.write("PUT", name, "points", {"points": whole})

    async def write(self, method: str, name: str, path: str, body: Any) -> None:
        """Any write of the REST interface, applied."""
        path = f"/collections/{name}/{path}"
        await self.server.admin._call("write", method, path, json=body, params={"wait": "true"})

    async def revector(self, name: str, point: int, row: Sequence[float] | None) -> None:
        """Another vector for one point, or none."""
        (found,) = await self.server.points.fetch(name, [wire.raw_id(point)])
        vectors = b"" if row is None else wire.dense_vectors([row])[0]
        await self.server.points.upsert(name, [wire.Point(found.id, found.payload, vectors)])

    async def state(self, name: str) -> CollectionState:
        found = await self.server.admin.collection(name)
        assert found is not None
        return found

    async def comparison(self, **changes: Any) -> Comparison:
        """What the operator compares after a copy."""
        blue, green = [Side(self.server, await self.state(name)) for name in (self.blue, self.green)]
        known = await listed(self.server, blue.state, SCRATCH)
        tuning = effective(Tuning({}, {"tenant": TENANT}), blue.state, green.state.schema)
        given = {"blue": blue, "green": green, "known": known, "same_vectors": True, "tuning": tuning}
        return Comparison(**{**given, **changes})

    async def restore(self) -> None:
        """Make green blue's copy again, and blue what it was."""
        ids = [wire.raw_id(n) for n in range(POINTS)]
        await self._reset(self.blue, ids)
        blue = {p.id: p for p in await self.server.points.fetch(self.blue, ids)}
        green = {p.id: p for p in await self.server.points.fetch(self.green, ids)}
        wrong = [p for p in ids if p not in green or _bytes(green[p]) != _bytes(blue[p])]
        await self.server.points.upsert(self.green, [blue[p] for p in wrong])
        for name in (self.blue, self.green):
            listed = [p async for page in self.server.points.ids(name) for p in page]
            await self.server.points.delete(name, [p for p in listed if p not in blue])

    async def _reset(self, name: str, ids: Sequence[RawId]) -> None:
        found = {p.id: p for p in await self.server.points.fetch(name, ids)}
        fields = payload_of(0)
        wrong = [
            number
            for number, point in enumerate(ids)
            if point not in found
            or {f: wire.payload_value(found[point].payload, f) for f in fields} != payload_of(number)
        ]
        if wrong:
            await self.put(name, *({"id": n, "vector": vector_of(text_of(n)).tolist()} for n in wrong))


def _bytes(point: RawPoint) -> tuple[list[bytes], bytes]:
    return sorted(point.payload), point.vectors


class Tampered:
    """A server whose calls for points are tampered with, and those for `admin` by name; the rest is real."""

    def __init__(self, server: Server, admin: Mapping[str, Any] | None = None, **overrides: Any) -> None:
        self._server, self._overrides = server, overrides
        self.admin = _Overridden(server.admin, admin or {})
        self.points = _Overridden(server.points, overrides)

    def reads(self, state: CollectionState) -> Any:
        return _Overridden(self._server.reads(state), self._overrides)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class _Overridden:
    def __init__(self, real: Any, overrides: Mapping[str, Any]) -> None:
        self._real = real
        self._overrides = overrides

    def __getattr__(self, name: str) -> Any:
        return self._overrides.get(name) or getattr(self._real, name)


async def checks(asked: Comparison) -> dict[str, Check]:
    return {check.name: check for check in await ask_all(asked)}


def failed(found: Mapping[str, Check]) -> dict[str, tuple[str, ...]]:
    """Name → samples of those that failed or could not be asked."""
    return {n: c.samples for n, c in found.items() if c.verdict in (Verdict.FAILED, Verdict.ERROR)}
