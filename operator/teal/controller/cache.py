"""The objects that Teal serves, as the API server last showed them, and which resources a change concerns.

Objects are stored as canonical JSON, without the fields that Teal never reads. That is small, two versions are
compared as bytes, and no caller can change by accident what the next reconcile reads.

Invariants: an older version never replaces a newer one, except when it comes from a list. A change that the
reconciler announced (`expect`) concerns nobody when it arrives, so Teal's own writes do not cause more work. A
change that somebody else made at the same time always concerns the resource.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from teal.controller.objects import Kind, RawObject, Ref, status_of, uid_of

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

STATUS_DELAY = 1.0
"""Seconds before Teal reacts to a foreign change of a status, so that two writers who disagree do not loop fast.
"""
USERS_DELAY = 5.0
"""Seconds before the status of an EmbeddingSet lists new users: a thousand new users cause only few writes."""

Concerned = list[tuple[Ref, float]]
"""Which resources a change concerns, and in how many seconds each is due."""


class ResourceState(NamedTuple):
    """The status of a VectorCollection for metrics; `progress` is 0 to 1 while it migrates."""

    namespace: str
    name: str
    phase: str
    true_conditions: frozenset[str]
    progress: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One version of one object."""

    ref: Ref
    uid: str
    resource_version: str
    body: bytes
    """The object without managedFields, resourceVersion and kubectl's copy of it."""
    declared: int
    """Hash of the body without its status."""
    endpoint: str | None
    """The Qdrant that this resource uses."""
    uses: str | None
    """Name of the EmbeddingSet that it refers to."""
    state: ResourceState

    def load(self) -> dict[str, Any]:
        """The object, freshly parsed: the caller may change it."""
        obj: dict[str, Any] = json.loads(self.body)
        obj["metadata"]["resourceVersion"] = self.resource_version
        return obj


class Cache:
    """All known objects of both kinds. Not thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[Ref, Entry] = {}
        self._users: defaultdict[Ref, set[str]] = defaultdict(set)
        self._expected: dict[Ref, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, ref: Ref) -> Entry | None:
        return self._entries.get(ref)

    def entries(self) -> Mapping[Ref, Entry]:
        """A copy of what is known now."""
        return dict(self._entries)

    def users_of(self, embedding_set: Ref) -> list[str]:
        """Names of the VectorCollections that refer to it (all in its namespace), even if it does not exist."""
        return sorted(self._users.get(embedding_set, ()))

    def states(self) -> Iterator[ResourceState]:
        """The states of all VectorCollections."""
        return (entry.state for ref, entry in self.entries().items() if ref.kind is Kind.VECTOR_COLLECTION)

    def endpoint_of(self, ref: Ref) -> str | None:
        """The Qdrant that a reconcile of `ref` uses, for the limit of each Qdrant."""
        entry = self._entries.get(ref)
        return entry.endpoint if entry else None

    def put(self, kind: Kind, obj: RawObject, *, authoritative: bool = False) -> Concerned:
        """Store a version of an object, and return which resources the change concerns.

        An `authoritative` version was read just now: it counts even if it seems older, for example after etcd
        was restored from a backup.
        """
        entry = _entry(kind, obj)
        before = self._entries.get(entry.ref)
        if before is not None and not authoritative and _is_older(entry, before):
            return []
        self._store(entry, before)
        expected = self._expected.pop(entry.ref, None)
        if expected is not None and expected.body == entry.body:
            return []
        return self._concerned(entry.ref, before, entry)

    def refresh(self, kind: Kind, obj: RawObject) -> None:
        """Store the answer to an announced write. It concerns nobody, and never restores a deleted object.

        An answer that also shows a foreign change is ignored: the watch delivers that change.
        """
        entry = _entry(kind, obj)
        before, expected = self._entries.get(entry.ref), self._expected.get(entry.ref)
        if before is None or expected is None or before.uid != entry.uid or _is_older(entry, before):
            return
        if entry.declared == expected.declared:
            self._store(entry, before)

    def expect(self, kind: Kind, obj: RawObject) -> None:
        """Announce a write after which the object looks like `obj`."""
        entry = _entry(kind, obj)
        self._expected[entry.ref] = entry

    def remove(self, ref: Ref, uid: str) -> Concerned:
        """The object is deleted, unless another one of that name exists by now; returns which resources that
        concerns.
        """
        before = self._entries.get(ref)
        if before is None or before.uid != uid:
            return []
        del self._entries[ref]
        self._expected.pop(ref, None)
        self._unlink(before)
        return self._concerned(ref, before, None)

    def _store(self, entry: Entry, before: Entry | None) -> None:
        if before is not None and before.uses != entry.uses:
            self._unlink(before)
        self._entries[entry.ref] = entry
        if used := _used(entry):
            self._users[used].add(entry.ref.name)

    def _unlink(self, entry: Entry) -> None:
        if used := _used(entry):
            self._users[used].discard(entry.ref.name)
            if not self._users[used]:
                del self._users[used]

    def _concerned(self, ref: Ref, before: Entry | None, after: Entry | None) -> Concerned:
        if before and after and before.uid == after.uid:
            if before.body == after.body:
                return []
            if before.declared == after.declared:
                return [(ref, STATUS_DELAY)]
        if ref.kind is Kind.EMBEDDING_SET:
            users = (Ref(Kind.VECTOR_COLLECTION, ref.namespace, name) for name in self.users_of(ref))
            return [(ref, 0.0), *((user, 0.0) for user in users)]
        was, now = _used(before), _used(after)
        return [(ref, 0.0), *((used, USERS_DELAY) for used in (was, now) if used and was != now)]


def _entry(kind: Kind, obj: RawObject) -> Entry:
    metadata = obj["metadata"]
    ref = Ref(kind, sys.intern(metadata["namespace"]), metadata["name"])
    kept = {key: value for key, value in metadata.items() if key not in {"managedFields", "resourceVersion"}}
    if LAST_APPLIED in (kept.get("annotations") or {}):
        annotations = {key: value for key, value in kept["annotations"].items() if key != LAST_APPLIED}
        kept["annotations"] = annotations
    declared = {**obj, "metadata": kept}
    status = declared.pop("status", None)
    spec = obj.get("spec") or {}
    return Entry(
        ref=ref,
        uid=uid_of(obj),
        resource_version=metadata["resourceVersion"],
        body=_canonical({**declared, "status": status} if status else declared),
        declared=hash(_canonical(declared)),
        endpoint=_endpoint(spec) if kind is Kind.VECTOR_COLLECTION else None,
        uses=(spec.get("embeddingSetRef") or {}).get("name"),
        state=_state(ref, status_of(obj)),
    )


def _canonical(obj: RawObject) -> bytes:
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _endpoint(spec: Mapping[str, Any]) -> str | None:
    url = (spec.get("qdrant") or {}).get("url")
    return sys.intern(url.rstrip("/")) if isinstance(url, str) else None


def _used(entry: Entry | None) -> Ref | None:
    return Ref(Kind.EMBEDDING_SET, entry.ref.namespace, entry.uses) if entry and entry.uses else None


def _state(ref: Ref, status: Mapping[str, Any]) -> ResourceState:
    true = (each["type"] for each in status.get("conditions") or () if each.get("status") == "True")
    percent = ((status.get("migration") or {}).get("progress") or {}).get("percent")
    return ResourceState(
        ref.namespace,
        ref.name,
        sys.intern(str(status.get("phase") or "")),
        frozenset(map(sys.intern, true)),
        percent / 100 if percent is not None else None,
    )


def _is_older(entry: Entry, than: Entry) -> bool:
    """Resource versions grow with time. A version that is not a number cannot be compared."""
    versions = entry.resource_version, than.resource_version
    return all(map(str.isdecimal, versions)) and int(versions[0]) < int(versions[1])
