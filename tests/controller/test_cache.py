"""The cache: what of a change concerns whom, and which version counts."""

from __future__ import annotations

import pytest

from teal.controller.cache import STATUS_DELAY, USERS_DELAY, Cache
from teal.controller.objects import Kind
from tests.controller.fakes import FakeKube, embedding_set, ready, ref, vector_collection

VCOL, ESET = Kind.VECTOR_COLLECTION, Kind.EMBEDDING_SET


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def cache() -> Cache:
    return Cache()


def test_a_new_object_concerns_itself_and_the_same_again_nobody(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    assert cache.put(VCOL, obj) == [(ref(), 0.0)]
    assert cache.put(VCOL, obj) == []


def test_what_comes_out_is_what_went_in_without_what_nobody_reads(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    obj["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    obj["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}
    cache.put(VCOL, obj)
    entry = cache.entry(ref())
    assert entry
    loaded = entry.load()
    assert "managedFields" not in loaded["metadata"]
    assert loaded["metadata"]["annotations"] == {"a": "b"}
    assert loaded["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]
    assert loaded["spec"] == obj["spec"]


def test_who_loads_which_qdrant(kube: FakeKube, cache: Cache) -> None:
    cache.put(VCOL, kube.apply(vector_collection(qdrant={"url": "http://a:6333/"})))
    cache.put(ESET, kube.apply(embedding_set()))
    assert cache.endpoint_of(ref()) == "http://a:6333"
    assert cache.endpoint_of(ref("minilm", ESET)) is None
    assert cache.endpoint_of(ref("unknown")) is None


def test_an_edit_of_a_set_concerns_all_that_use_it(kube: FakeKube, cache: Cache) -> None:
    for name in ("a", "b"):
        cache.put(VCOL, kube.apply(vector_collection(name, embedding_set="minilm")))
    cache.put(VCOL, kube.apply(vector_collection("other")))
    everybody = [(ref("minilm", ESET), 0.0), (ref("a"), 0.0), (ref("b"), 0.0)]
    created = kube.apply(embedding_set())
    assert cache.put(ESET, created) == everybody
    edited = kube.apply(embedding_set(dimensions=8))
    assert cache.put(ESET, edited) == everybody
    assert cache.remove(ref("minilm", ESET), edited["metadata"]["uid"]) == everybody


def test_a_sets_status_concerns_only_the_set(kube: FakeKube, cache: Cache) -> None:
    cache.put(VCOL, kube.apply(vector_collection(embedding_set="minilm")))
    cache.put(ESET, kube.apply(embedding_set()))
    changed = kube.set_status(ref("minilm", ESET), {"fingerprint": "f"})
    assert cache.put(ESET, changed) == [(ref("minilm", ESET), STATUS_DELAY)]


def test_sets_are_told_after_a_while_who_uses_them_now(kube: FakeKube, cache: Cache) -> None:
    old, new = ref("old", ESET), ref("new", ESET)
    obj = kube.apply(vector_collection(embedding_set="old"))
    assert cache.put(VCOL, obj) == [(ref(), 0.0), (old, USERS_DELAY)]
    assert cache.users_of(old) == ["docs"]
    obj = kube.apply(vector_collection(embedding_set="new"))
    assert cache.put(VCOL, obj) == [(ref(), 0.0), (old, USERS_DELAY), (new, USERS_DELAY)]
    assert (cache.users_of(old), cache.users_of(new)) == ([], ["docs"])
    obj = kube.apply(vector_collection(embedding_set="new", suspend=True))
    assert cache.put(VCOL, obj) == [(ref(), 0.0)]
    assert cache.remove(ref(), obj["metadata"]["uid"]) == [(ref(), 0.0), (new, USERS_DELAY)]
    assert cache.users_of(new) == []


def test_somebody_elses_change_of_a_status_is_looked_at_with_a_delay(kube: FakeKube, cache: Cache) -> None:
    cache.put(VCOL, kube.apply(vector_collection()))
    assert cache.put(VCOL, kube.set_status(ref(), {"phase": "Ready"})) == [(ref(), STATUS_DELAY)]


def test_an_announced_change_concerns_nobody_but_is_taken_in(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    cache.put(VCOL, obj)
    cache.expect(VCOL, {**obj, "status": ready()})
    event = kube.set_status(ref(), ready())
    assert cache.put(VCOL, event) == []
    entry = cache.entry(ref())
    assert entry
    assert entry.load()["status"] == ready()


def test_an_edit_together_with_an_announced_change_is_not_swallowed(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    cache.put(VCOL, obj)
    cache.expect(VCOL, {**obj, "status": ready()})
    kube.apply(vector_collection(suspend=True))
    assert cache.put(VCOL, kube.set_status(ref(), ready())) == [(ref(), 0.0)]


def test_the_older_version_does_not_count_unless_it_was_just_read(kube: FakeKube, cache: Cache) -> None:
    old = kube.apply(vector_collection())
    new = kube.apply(vector_collection(suspend=True))
    cache.put(VCOL, new)
    assert cache.put(VCOL, old) == []
    assert cache.put(VCOL, old, authoritative=True) == [(ref(), 0.0)]
    assert cache.entry(ref()).resource_version == old["metadata"]["resourceVersion"]  # type: ignore[union-attr]


def test_the_answer_to_an_announced_write_is_taken_in(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    cache.put(VCOL, obj)
    cache.expect(VCOL, {**obj, "status": ready()})
    answer = kube.set_status(ref(), ready())
    cache.refresh(VCOL, answer)
    assert cache.entry(ref()).load()["status"] == ready()  # type: ignore[union-attr]
    assert cache.put(VCOL, answer) == []


def test_an_edit_that_the_answer_to_a_write_shows_first_is_not_lost(kube: FakeKube, cache: Cache) -> None:
    """The API server took the edit before the write, and its answer overtakes the watch's event of the edit."""
    obj = kube.apply(vector_collection())
    cache.put(VCOL, obj)
    cache.expect(VCOL, {**obj, "status": ready()})
    edit = kube.apply(vector_collection(suspend=True))
    answer = kube.set_status(ref(), ready())
    cache.refresh(VCOL, answer)
    assert cache.put(VCOL, edit) == [(ref(), 0.0)]
    assert cache.put(VCOL, answer) == [(ref(), STATUS_DELAY)]


def test_the_answer_to_a_write_does_not_bring_back_the_dead(kube: FakeKube, cache: Cache) -> None:
    obj = kube.apply(vector_collection())
    cache.put(VCOL, obj)
    cache.remove(ref(), obj["metadata"]["uid"])
    cache.refresh(VCOL, obj)
    assert cache.entry(ref()) is None


def test_a_deletion_concerns_only_the_object_that_was_deleted(kube: FakeKube, cache: Cache) -> None:
    first = kube.apply(vector_collection())
    cache.put(VCOL, first)
    kube.delete(ref())
    second = kube.apply(vector_collection())
    assert cache.put(VCOL, second) == [(ref(), 0.0)]
    assert cache.remove(ref(), first["metadata"]["uid"]) == []
    assert cache.entry(ref())


def test_states_are_what_the_statuses_say(kube: FakeKube, cache: Cache) -> None:
    kube.apply(vector_collection())
    migrating = ready(phase="Populating", migration={"progress": {"percent": 40}})
    cache.put(VCOL, kube.set_status(ref(), migrating))
    cache.put(ESET, kube.apply(embedding_set()))
    (state,) = cache.states()
    assert state == ("search", "docs", "Populating", {"Ready"}, 0.4)
