"""Notes of the engine as Kubernetes Events: each is sent once, and none is lost while the API server is away.

Invariants: a note that a reconcile repeats right after the previous one is not sent again. A note that could not
be sent is tried again at the next reconcile under the same name, so it exists once in the end.
"""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from teal.api.common import API_VERSION
from teal.api.values import rfc3339
from teal.controller.kube import ApiServerError, Kube
from teal.controller.objects import Ref
from teal.migration.contract import Note

logger = logging.getLogger(__name__)

CONTROLLER = "teal.dev/operator"
NOTE_LENGTH = 1024
KEPT = 20
"""How many unsent Events are kept for one resource."""


class EventPoster:
    """Sends notes. Calls for one resource must not overlap."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._instance = f"teal-{socket.gethostname()}"[:128]
        self._told: dict[Ref, frozenset[Note]] = {}
        self._unposted: dict[Ref, list[dict[str, Any]]] = {}

    async def post(self, ref: Ref, uid: str, notes: Sequence[Note], now: datetime) -> None:
        """Send `notes` about the object `uid` at `ref`, and all notes that could not be sent before. Never
        raises.
        """
        told = self._told.pop(ref, frozenset())
        if notes:
            self._told[ref] = frozenset(notes)
        fresh = [self._event(ref, uid, note, now) for note in notes if note not in told]
        events = (self._unposted.pop(ref, []) + fresh)[-KEPT:]
        for index, event in enumerate(events):
            try:
                await self._kube.post_event(ref.namespace, event)
            except ApiServerError as error:
                logger.warning(
                    "An Event (%s) could not be sent and will be tried again: %s", event["reason"], error
                )
                self._unposted[ref] = events[index:]
                return

    def forget(self, ref: Ref) -> None:
        """The object is gone: forget its notes."""
        self._told.pop(ref, None)
        self._unposted.pop(ref, None)

    def _event(self, ref: Ref, uid: str, note: Note, now: datetime) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": ref.namespace, "name": f"{ref.name[:200]}.{uuid.uuid4().hex[:16]}"},
            "eventTime": rfc3339(now, "microseconds"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason[:128],
            "action": note.action[:128],
            "note": _shortened(note.message),
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": ref.kind.value,
                "namespace": ref.namespace,
                "name": ref.name,
                "uid": uid,
            },
        }


def _shortened(text: str) -> str:
    """`text`, cut to the limit of the API server, which counts bytes."""
    encoded = text.encode()
    return text if len(encoded) <= NOTE_LENGTH else encoded[: NOTE_LENGTH - 3].decode(errors="ignore") + "…"
