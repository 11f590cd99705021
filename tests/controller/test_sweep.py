"""The sweep: what no watch told is found, and what a watch told meanwhile is not judged by an old list."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from teal.controller.cache import Cache, Concerned
from teal.controller.kube import ApiServerError, ObjectMeta
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind, Ref
from teal.controller.sweep import Sweeper
from tests.controller.fakes import FakeKube, embedding_set, ref, vector_collection

VCOL = Kind.VECTOR_COLLECTION


class Lagging(FakeKube):
    """Things happen, and watches tell of them, right after the list was made."""

    def __init__(self) -> None:
        super().__init__()
        self.after_list: list[object] = []

    async def list_metadata(self, kind: Kind, namespace: str | None) -> AsyncIterator[ObjectMeta]:
        async for each in super().list_metadata(kind, namespace):
            yield each
        while kind is VCOL and self.after_list:
            self.after_list.pop(0)()  # type: ignore[operator]


class Bench:
    def __init__(self, namespaces: tuple[str, ...] = ()) -> None:
        self.kube = Lagging()
        self.cache = Cache()
        self.metrics = Metrics()
        self.told: Concerned = []
        self.sweeper = Sweeper(self.kube, self.cache, namespaces, self.told.extend, self.metrics)

    def missed(self, what: str) -> float:
        labels = {"kind": "VectorCollection", "what": what}
        return self.metrics.registry.get_sample_value("teal_watch_missed_total", labels) or 0.0

    @property
    def refs(self) -> list[Ref]:
        return [at for at, _ in self.told]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_nothing_missed_nothing_told(bench: Bench) -> None:
    bench.cache.put(VCOL, bench.kube.apply(vector_collection()))
    bench.kube.fail["get"] = [ApiServerError("must not be asked")]
    assert await bench.sweeper.sweep(patience=0) == 0
    assert bench.told == []


async def test_a_missed_creation_edit_and_deletion_are_found(bench: Bench) -> None:
    for name in ("kept", "edited", "deleted"):
        bench.cache.put(VCOL, bench.kube.apply(vector_collection(name)))
    bench.kube.apply(vector_collection("edited", suspend=True))
    bench.kube.delete(ref("deleted"))
    bench.kube.apply(vector_collection("created"))
    assert await bench.sweeper.sweep(patience=0) == 3
    assert sorted(at.name for at in bench.refs) == ["created", "deleted", "edited"]
    assert bench.cache.entry(ref("deleted")) is None
    assert bench.cache.entry(ref("edited")).load()["spec"]["suspend"]  # type: ignore[union-attr]
    assert (bench.missed("edit"), bench.missed("deletion")) == (2, 1)
    assert await bench.sweeper.sweep(patience=0) == 0


async def test_a_namesake_that_no_watch_told_of_is_found(bench: Bench) -> None:
    bench.cache.put(VCOL, bench.kube.apply(vector_collection()))
    bench.kube.delete(ref())
    second = bench.kube.apply(vector_collection())
    await bench.sweeper.sweep(patience=0)
    assert bench.cache.entry(ref()).uid == second["metadata"]["uid"]  # type: ignore[union-attr]


async def test_a_missed_set_concerns_its_users(bench: Bench) -> None:
    bench.cache.put(VCOL, bench.kube.apply(vector_collection(embedding_set="minilm")))
    bench.kube.apply(embedding_set())
    await bench.sweeper.sweep(patience=0)
    assert ref() in bench.refs


async def test_what_was_created_after_the_list_is_no_ghost(bench: Bench) -> None:
    bench.kube.after_list = [lambda: bench.cache.put(VCOL, bench.kube.apply(vector_collection("new")))]
    assert await bench.sweeper.sweep(patience=0) == 0
    assert bench.cache.entry(ref("new"))


async def test_what_was_edited_after_the_list_is_not_fetched(bench: Bench) -> None:
    bench.cache.put(VCOL, bench.kube.apply(vector_collection()))
    edit = vector_collection(suspend=True)
    bench.kube.after_list = [lambda: bench.cache.put(VCOL, bench.kube.apply(edit))]
    bench.kube.fail["get"] = [ApiServerError("must not be asked")]
    assert await bench.sweeper.sweep(patience=0) == 0


async def test_what_was_deleted_after_the_list_is_not_brought_back(bench: Bench) -> None:
    obj = bench.kube.apply(vector_collection())
    bench.cache.put(VCOL, obj)

    def delete() -> None:
        bench.kube.delete(ref())
        bench.cache.remove(ref(), obj["metadata"]["uid"])

    bench.kube.after_list = [delete]
    assert await bench.sweeper.sweep(patience=0) == 0
    assert bench.cache.entry(ref()) is None


async def test_a_watch_that_is_merely_late_is_waited_for(bench: Bench) -> None:
    """The object comes at the second look at the differences; fetching it would be an error."""
    obj = bench.kube.apply(vector_collection())
    bench.kube.fail["get"] = [ApiServerError("must not be asked")]
    entry, calls = bench.cache.entry, iter(range(100))

    def late(at: Ref) -> object:
        if next(calls) == 1:
            bench.cache.put(VCOL, obj)
        return entry(at)

    bench.cache.entry = late  # type: ignore[method-assign,assignment]
    assert await bench.sweeper.sweep(patience=60) == 0


async def test_after_etcd_was_restored_from_a_backup_the_older_version_counts(bench: Bench) -> None:
    old = bench.kube.apply(vector_collection())
    bench.cache.put(VCOL, bench.kube.apply(vector_collection(suspend=True)))
    bench.kube.objects[ref()] = old
    assert await bench.sweeper.sweep(patience=0) == 1
    assert "suspend" not in bench.cache.entry(ref()).load()["spec"]  # type: ignore[union-attr]


async def test_only_the_own_namespaces_are_listed() -> None:
    bench = Bench(namespaces=("elsewhere",))
    bench.kube.apply(vector_collection())
    assert await bench.sweeper.sweep(patience=0) == 0
    assert len(bench.cache) == 0


async def test_a_list_that_fails_changes_nothing(bench: Bench) -> None:
    bench.cache.put(VCOL, bench.kube.apply(vector_collection()))
    bench.kube.objects.clear()
    bench.kube.fail["list"] = [ApiServerError("no answer")]
    with pytest.raises(ApiServerError):
        await bench.sweeper.sweep(patience=0)
    assert bench.cache.entry(ref())
