"""However edits, writes, their answers and the events of watches overtake each other: all comes to rest, rightly.

A model of one object's life. Events arrive late but in order; the answer to a write may arrive before or after
the events of what happened around it; watches may lose what happened, and then only a list shows it.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any

import pytest

from teal.controller.cache import Cache, Concerned
from teal.controller.objects import Kind, uid_of
from tests.controller.fakes import FakeKube, ref, vector_collection

VCOL = Kind.VECTOR_COLLECTION
MANY = 20
ACTIONS = [
    *("suspend", "resume", "meddle", "delete", "expire"),
    *("deliver", "look", "arrive", "hear", "hear_nothing") * 2,
]


def wanted(obj: dict[str, Any]) -> dict[str, Any]:
    """The status that the reconciler means `obj` to have."""
    return {"phase": "Suspended" if obj["spec"].get("suspend") else "Ready"}


class Life:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.cache = Cache()
        self.events: deque[tuple[str, dict[str, Any]]] = deque()
        self.due: set[object] = set()
        self.write: tuple[str, dict[str, Any]] | None = None
        self.answer: dict[str, Any] | None = None
        self.lost = False
        self.edit(suspend=False)

    @property
    def exists(self) -> bool:
        return ref() in self.kube.objects

    def tell(self, concerned: Concerned) -> None:
        self.due |= {at for at, _ in concerned}

    def happened(self, event: str, obj: dict[str, Any]) -> None:
        self.events.append((event, copy.deepcopy(obj)))

    def suspend(self) -> None:
        self.edit(suspend=True)

    def resume(self) -> None:
        self.edit(suspend=False)

    def edit(self, suspend: bool) -> None:
        event = "MODIFIED" if self.exists else "ADDED"
        self.happened(event, self.kube.apply(vector_collection(suspend=suspend)))

    def meddle(self) -> None:
        """Somebody else writes the status."""
        if self.exists:
            self.happened("MODIFIED", self.kube.set_status(ref(), {"phase": "Nonsense"}))

    def delete(self) -> None:
        if self.exists:
            self.happened("DELETED", self.kube.objects[ref()])
            self.kube.delete(ref())

    def deliver(self) -> None:
        if self.events:
            event, obj = self.events.popleft()
            is_gone = event == "DELETED"
            self.tell(self.cache.remove(ref(), uid_of(obj)) if is_gone else self.cache.put(VCOL, obj))

    def expire(self) -> None:
        """The watch begins anew from a list: of what happened, only what is there now is told."""
        self.events.clear()
        self.lost = True
        if self.exists:
            self.happened("ADDED", self.kube.objects[ref()])

    def look(self) -> None:
        entry = self.cache.entry(ref())
        if not self.due or self.write or self.answer:
            return
        self.due.clear()
        obj = entry.load() if entry else None
        if obj is not None and obj.get("status") != wanted(obj):
            self.cache.expect(VCOL, {**obj, "status": wanted(obj)})
            self.write = (uid_of(obj), wanted(obj))

    def arrive(self) -> None:
        """The write reaches the API server, which refuses it if the object is another one by now."""
        if self.write is None:
            return
        uid, status = self.write
        self.write = None
        if self.exists and uid_of(self.kube.objects[ref()]) == uid:
            self.answer = self.kube.set_status(ref(), status)
            self.happened("MODIFIED", self.answer)
        else:
            self.due.add(ref())

    def hear(self) -> None:
        """The answer to the write arrives."""
        if self.answer is not None:
            self.cache.refresh(VCOL, self.answer)
            self.answer = None

    def hear_nothing(self) -> None:
        """The write was done, but its answer is lost."""
        if self.answer is not None:
            self.due.add(ref())
            self.answer = None

    def sweep(self) -> None:
        """As `Sweeper` does, with nothing on its way."""
        entry = self.cache.entry(ref())
        obj = self.kube.objects.get(ref())
        if obj is None and entry is not None:
            self.tell(self.cache.remove(ref(), entry.uid))
        elif obj and (entry is None or entry.resource_version != obj["metadata"]["resourceVersion"]):
            self.tell(self.cache.put(VCOL, obj, authoritative=True))

    def settle(self) -> None:
        for _ in range(MANY):
            for step in (self.arrive, self.hear, self.deliver, self.look):
                step()
            if not (self.write or self.answer or self.events or self.due):
                return
        raise AssertionError("it never comes to rest")

    def rest(self) -> None:
        self.hear()
        while self.events:
            self.deliver()
        if self.lost:
            self.sweep()
            self.lost = False
        self.settle()
        entry = self.cache.entry(ref())
        if not self.exists:
            assert entry is None
            return
        obj = self.kube.objects[ref()]
        assert entry is not None
        assert entry.load() == obj
        assert obj["status"] == wanted(obj)


@pytest.mark.parametrize("seed", range(4))
def test_all_comes_to_rest(seed: int) -> None:
    """By plain chance: what goes wrong takes several steps in one order, and nothing after them that heals it."""
    rng = random.Random(seed)
    for _ in range(1000):
        life = Life()
        actions = rng.choices(ACTIONS, k=10)
        for action in actions:
            getattr(life, action)()
        try:
            life.rest()
        except AssertionError as error:
            error.add_note(f"after {', '.join(actions)}")
            raise
