"""One look at one resource: what the cache has of it → the engine → its status, Events and finalizer.

Level-triggered: nothing is remembered from one look to the next but what saves a repeated Event. Whatever goes
wrong ends in a `Next`, never in an exception: a resource that is not looked at again would be lost.

The order is what makes a crash harmless: the finalizer is there before the engine makes anything that it would
have to clean up, and goes last; status and Events are told after the engine did what they tell.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from teal.api.embedding_set import EmbeddingSet
from teal.api.fit import fitted
from teal.api.manifest import ManifestError, parse
from teal.api.vector_collection import VectorCollection
from teal.controller.cache import Cache
from teal.controller.context import about
from teal.controller.dispatcher import Next
from teal.controller.engine import Reconciles
from teal.controller.events import EventPoster
from teal.controller.kube import ApiServerError, ConflictError, GoneError, Kube
from teal.controller.metrics import Metrics
from teal.controller.objects import (
    CLEANUP_FINALIZER,
    FENCE_FINALIZER,
    Kind,
    RawObject,
    Ref,
    finalizers_of,
    generation_of,
    is_deleting,
    own_finalizers,
    status_of,
    uid_of,
    with_finalizers,
)
from teal.controller.status import (
    INTERNAL_ERROR,
    INVALID_SPEC,
    completed,
    in_trouble,
    is_ready,
    stalled,
)
from teal.domain.errors import TealError, TerminalError
from teal.migration.contract import Resource

logger = logging.getLogger(__name__)

M = TypeVar("M", VectorCollection, EmbeddingSet)

HURRIED = 30.0
"""Seconds; who asks to come back later than this is in no hurry: in the background, and with jitter."""
API_SERVER_SECONDS = 20.0
"""Without the API server a step is repeated after so long at most, and not ever later: the engine can go on."""
UNREADY_SECONDS = 60.0
"""An EmbeddingSet that is not ready is looked at again after so long."""
USERS_SHOWN = 10_000
"""As many names as the definition of EmbeddingSet takes."""
FIRST_SPREAD, SPREAD = 0.9, 0.2
"""How far before its time a resource may come back, as a part of the delay: far at first, because after a start
all were looked at in a row."""


class Reconciler:
    """Looks at resources. `process` is for the `Dispatcher`: one call at a time for one resource."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        engine: Reconciles,
        metrics: Metrics,
        *,
        resync: float = 600.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        """`resync`: seconds after which every resource is looked at again, at the latest."""
        self._kube = kube
        self._cache = cache
        self._engine = engine
        self._metrics = metrics
        self._events = EventPoster(kube)
        self._resync = resync
        self._now = now
        self._rng = rng or random.Random()
        self._known: dict[Ref, str] = {}

    async def process(self, ref: Ref) -> Next:
        """One look at `ref`; returns when to look again."""
        started = time.perf_counter()
        entry = self._cache.entry(ref)
        obj = entry.load() if entry else None
        with about(f"{ref.namespace}/{ref.name}", status_of(obj or {})):
            following = await self._guarded(ref, obj)
        self._metrics.reconcile_seconds.labels(ref.kind.value).observe(time.perf_counter() - started)
        return following

    async def _guarded(self, ref: Ref, obj: RawObject | None) -> Next:
        is_first = await self._note_identity(ref, uid_of(obj) if obj else None)
        if obj is None:
            self._count(ref, "gone")
            return Next()
        try:
            following = await self._look(ref, obj)
        except GoneError:
            self._cache.remove(ref, uid_of(obj))
            return await self._guarded(ref, None)
        except ConflictError as error:
            logger.info("%s changed meanwhile, as a watch will tell: %s", ref, error)
            self._count(ref, "failed")
            return Next(failed=True)
        except ApiServerError as error:
            logger.warning("%s waits for the API server: %s", ref, error)
            self._count(ref, "failed")
            return Next(API_SERVER_SECONDS * self._rng.uniform(0.5, 1.0))
        except Exception as error:
            logger.exception("Looking at %s failed unexpectedly", ref)
            self._count(ref, "failed")
            return await self._show_bug(ref, obj, error)
        return self._spread(following, FIRST_SPREAD if is_first else SPREAD)

    async def _look(self, ref: Ref, obj: RawObject) -> Next:
        try:
            if ref.kind is Kind.EMBEDDING_SET:
                return await self._embedding_set(ref, obj)
            return await self._vector_collection(ref, obj)
        except ManifestError as error:
            # Both kinds are checked by the API server: its definitions are older or newer than this operator.
            message = f"{str(error).splitlines()[0]} {'; '.join(error.problems)}"
            await self._write(ref, obj, stalled(status_of(obj), INVALID_SPEC, message, generation_of(obj)))
            return Next(self._resync, background=True)

    async def _vector_collection(self, ref: Ref, obj: RawObject) -> Next:
        manifest = _parse(obj, VectorCollection)
        if not is_deleting(obj):
            obj = await self._with_finalizers(ref, obj, _finalizers(manifest, guarded=_is_guarded(obj)))
        resource = Resource(
            manifest=manifest,
            embedding_set=await self._embedding_set_of(ref, manifest),
            uid=uid_of(obj),
            namespace=ref.namespace,
            name=ref.name,
            generation=generation_of(obj),
            deleting=is_deleting(obj),
            annotations=obj["metadata"].get("annotations") or {},
            status=status_of(obj),
            guarded=_is_guarded(obj),
        )
        outcome = await self._engine.reconcile(resource)
        # Before the status: who waits for what it shows finds the Events that belong to it.
        await self._events.post(ref, resource.uid, outcome.notes, self._now())
        if resource.deleting and outcome.finished:
            await self._with_finalizers(ref, obj, ())
            return Next()
        obj = await self._write(ref, obj, outcome.status)
        if not resource.deleting and outcome.needs_guard is not None:
            await self._with_finalizers(ref, obj, _finalizers(manifest, guarded=outcome.needs_guard))
        return Next(outcome.requeue_after, failed=outcome.failed)

    async def _embedding_set(self, ref: Ref, obj: RawObject) -> Next:
        embedding_set = _parse(obj, EmbeddingSet)
        used_by = self._cache.users_of(ref)[:USERS_SHOWN]
        try:
            found = await self._engine.inspect_embedding_set(embedding_set, ref.namespace, used_by)
        except TealError as error:
            trouble = stalled if isinstance(error, TerminalError) else in_trouble
            status = trouble(status_of(obj), error.reason, error.message, generation_of(obj))
            await self._write(ref, obj, {**status, "usedBy": used_by})
            return Next(failed=True)
        await self._write(ref, obj, {"usedBy": used_by, **found})
        return Next(self._resync if is_ready(found) else UNREADY_SECONDS)

    async def _embedding_set_of(self, ref: Ref, manifest: VectorCollection) -> EmbeddingSet | None:
        """Asked for where no watch has told of it: that of two applied together may only be late, not missing."""
        reference = manifest.spec.embedding_set_ref
        if reference is None:
            return None
        wanted = Ref(Kind.EMBEDDING_SET, ref.namespace, reference.name)
        entry = self._cache.entry(wanted)
        try:
            return _parse(entry.load() if entry else await self._kube.get(wanted), EmbeddingSet)
        except GoneError:
            return None

    async def _with_finalizers(self, ref: Ref, obj: RawObject, own: Collection[str]) -> RawObject:
        """`obj` with just these of Teal's finalizers: as it is, or as it is after a write."""
        if own_finalizers(obj) == set(own):
            return obj
        self._cache.expect(ref.kind, with_finalizers(obj, own))
        written = await self._kube.set_finalizers(obj, ref.kind, own)
        self._cache.refresh(ref.kind, written)
        return written

    async def _write(self, ref: Ref, obj: RawObject, status: Mapping[str, Any]) -> RawObject:
        """Make `status` the object's status, as much of it as fits, and return the object as it then is.

        Nothing is sent if it is so already.
        """
        old = status_of(obj)
        as_json = json.loads(json.dumps(status))
        new = fitted(ref.kind, completed(old, as_json, self._now(), generation_of(obj)))
        if new == old:
            self._count(ref, "unchanged")
            return obj
        self._cache.expect(ref.kind, {**obj, "status": new})
        written = await self._kube.put_status(ref, uid_of(obj), new)
        self._cache.refresh(ref.kind, written)
        self._count(ref, "written")
        if unkept := [key for key, value in new.items() if status_of(written).get(key) != value]:
            logger.warning(
                "The API server did not keep %s of the status of %s: are the CRDs older than this operator?",
                ", ".join(unkept),
                ref,
            )
        return written

    async def _show_bug(self, ref: Ref, obj: RawObject, error: Exception) -> Next:
        message = f"Teal failed by a {type(error).__name__}, which is a bug. It tries again; its log says more."
        try:
            await self._write(ref, obj, in_trouble(status_of(obj), INTERNAL_ERROR, message, generation_of(obj)))
        except ApiServerError as unwritten:
            logger.warning("The status of %s does not show it yet: %s", ref, unwritten)
        return Next(failed=True)

    async def _note_identity(self, ref: Ref, uid: str | None) -> bool:
        """Whether the object `uid` is new here; one that it replaced, or that is gone (`None`), is forgotten."""
        known = self._known.get(ref)
        if known == uid:
            return False
        if known is not None:
            del self._known[ref]
            self._events.forget(ref)
            await self._engine.forget(known)
        if uid is not None:
            self._known[ref] = uid
        return True

    def _spread(self, following: Next, spread: float) -> Next:
        if following.after is None or following.failed or following.after < HURRIED:
            return following
        after = min(following.after, self._resync) * (1.0 - spread * self._rng.random())
        return Next(after, background=True)

    def _count(self, ref: Ref, outcome: str) -> None:
        self._metrics.reconciles.labels(ref.kind.value, outcome).inc()


def _finalizers(manifest: VectorCollection, *, guarded: bool) -> list[str]:
    """What has to be done before the resource may be gone, one finalizer each."""
    cleanup = [CLEANUP_FINALIZER] if manifest.spec.deletion_policy == "Delete" else []
    return [*cleanup, FENCE_FINALIZER] if guarded else cleanup


def _is_guarded(obj: RawObject) -> bool:
    """Whether the resource stays until no fence stands; the object says so, not its status, which can be lost."""
    return FENCE_FINALIZER in finalizers_of(obj)


def _parse(obj: RawObject, model: type[M]) -> M:
    parsed = parse(obj)
    if not isinstance(parsed, model):
        raise TypeError(f"{obj['kind']} is no {model.__name__}")
    return parsed
