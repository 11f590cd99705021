"""Reconciles one resource: the object in the cache → the engine → its status, Events and finalizers.

Level-triggered: between two reconciles nothing is remembered, except what prevents a repeated Event. Every
failure ends in a `Next`, never in an exception: otherwise the resource would never be reconciled again.

The order makes a crash harmless: the finalizer is there before the engine creates anything that it would have to
clean up, and is removed last. Status and Events are written after the engine has done what they say.
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
"""Seconds; a resource that comes back later than this is not urgent: it runs in the background, and with jitter.
"""
API_SERVER_SECONDS = 20.0
"""While the API server is away a step is repeated after this time at most, without backoff: the engine can go
on.
"""
UNREADY_SECONDS = 60.0
"""An EmbeddingSet that is not ready is reconciled again after this time."""
USERS_SHOWN = 10_000
"""As many names as the CRD of EmbeddingSet allows."""
FIRST_SPREAD, SPREAD = 0.9, 0.2
"""How much earlier a resource may come back, as a share of the delay: much at first, because after a start all
resources were reconciled in a row.
"""


class Reconciler:
    """Reconciles resources. `process` is for the `Dispatcher`: one call at a time for one resource."""

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
        """`resync`: seconds after which every resource is reconciled again, at the latest."""
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
        """Reconcile `ref` once; returns when it is due again."""
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
            logger.info("%s has changed in the meantime; the watch will deliver it: %s", ref, error)
            self._count(ref, "failed")
            return Next(failed=True)
        except ApiServerError as error:
            logger.warning("%s waits for the API server: %s", ref, error)
            self._count(ref, "failed")
            return Next(API_SERVER_SECONDS * self._rng.uniform(0.5, 1.0))
        except Exception as error:
            logger.exception("Reconciling %s failed unexpectedly", ref)
            self._count(ref, "failed")
            return await self._show_bug(ref, obj, error)
        return self._spread(following, FIRST_SPREAD if is_first else SPREAD)

    async def _look(self, ref: Ref, obj: RawObject) -> Next:
        try:
            if ref.kind is Kind.EMBEDDING_SET:
                return await self._embedding_set(ref, obj)
            return await self._vector_collection(ref, obj)
        except ManifestError as error:
            # The API server has checked the object, so its CRDs are older or newer than this operator.
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
        # Before the status: a script that waits for the status finds the Events that belong to it.
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
        """Ask the API server if the cache has none: of two objects applied together, one may only be late."""
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
        """`obj` with exactly these of Teal's finalizers: as it is, or as it is after a write."""
        if own_finalizers(obj) == set(own):
            return obj
        self._cache.expect(ref.kind, with_finalizers(obj, own))
        written = await self._kube.set_finalizers(obj, ref.kind, own)
        self._cache.refresh(ref.kind, written)
        return written

    async def _write(self, ref: Ref, obj: RawObject, status: Mapping[str, Any]) -> RawObject:
        """Replace the object's status, cut to the limits of the CRD, and return the object after the write.

        Nothing is sent if the status is the same already.
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
        message = f"Teal failed with {type(error).__name__}: a bug. It tries again; the traceback is in its log."
        try:
            await self._write(ref, obj, in_trouble(status_of(obj), INTERNAL_ERROR, message, generation_of(obj)))
        except ApiServerError as unwritten:
            logger.warning("The status of %s could not be written: %s", ref, unwritten)
        return Next(failed=True)

    async def _note_identity(self, ref: Ref, uid: str | None) -> bool:
        """Whether the object `uid` is new here; the memory of an object that it replaced, or that is gone, is
        dropped.
        """
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
    """One finalizer for each thing that has to be done before the resource may go."""
    cleanup = [CLEANUP_FINALIZER] if manifest.spec.deletion_policy == "Delete" else []
    return [*cleanup, FENCE_FINALIZER] if guarded else cleanup


def _is_guarded(obj: RawObject) -> bool:
    """Whether the resource stays until no fence stands. The finalizer says so, not the status, which can be
    lost.
    """
    return FENCE_FINALIZER in finalizers_of(obj)


def _parse(obj: RawObject, model: type[M]) -> M:
    parsed = parse(obj)
    if not isinstance(parsed, model):
        raise TypeError(f"{obj['kind']} is no {model.__name__}")
    return parsed
