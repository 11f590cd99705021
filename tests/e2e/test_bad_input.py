"""What users and their servers get wrong: said once, with what to do; nothing is lost; mended, it goes on.

Each case ends in a condition whose message names the cause and the remedy, and in one Event however often Teal
tries again. What served before is compared to the last detail: configuration, counts, and the logs of its shards,
which not even a repeated write leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devkit import paths
from devkit.cluster import Manifest
from devkit.embeddings import EmbeddingServer
from devkit.qdrant import EmbeddedQdrant
from tests.e2e.support import LARGE, SMALL, Docs, condition, few, is_true, texts, unharmed
from tests.plugins.operator import Gather, Resident
from tests.plugins.qdrant import Qdrant

TLS = Path(__file__).parents[1] / "integration" / "tls"
KEY = "the-key"
ANOTHER = {**LARGE, "schemaVersion": "v2"}


def marked() -> str:
    """A text that faults of the embedder are about: Teal's probes do not contain it."""
    return few()[7].text


def told(docs: Docs, kind: str, reason: str, *words: str, blue: bool = False) -> Manifest:
    """The resource once it is `Stalled` or `Reconciling` for `reason`, in these words, and one Event said so.

    With `blue`, what served before still does.
    """
    found = docs.wait_condition(kind, reason)
    message = condition(found, kind)["message"]  # type: ignore[index]
    for word in words:
        assert word in message
    assert condition(found, "Ready")["reason"] == reason  # type: ignore[index]
    if blue:
        assert is_true(found, "Available")
        assert found["status"]["active"]["collection"] == docs.aliases()[docs.alias]
    docs.wait_for(lambda _: docs.events(reason), what=f"an Event {reason}")
    return found


def told_once(docs: Docs, kind: str, reason: str, *words: str, blue: bool = False) -> Manifest:
    """As `told`, and looking again repeats no Event."""
    told(docs, kind, reason, *words, blue=blue)
    docs.look_again()
    found = told(docs, kind, reason, *words, blue=blue)
    (event,) = docs.events(reason)
    assert event["type"] == "Warning"
    assert words[0] in event["note"]
    return found


@pytest.fixture(autouse=True)
def honest(tenant: Docs) -> Iterator[None]:
    """No version of the resource ever said Ready while it was stalled, nor Reconciling and Stalled at once."""
    since = tenant.cluster.resource_version("VectorCollection")
    yield
    versions = tenant.cluster.versions("VectorCollection", tenant.name, since)
    assert versions
    for version in versions:
        assert not (is_true(version, "Stalled") and is_true(version, "Reconciling"))
        assert not (is_true(version, "Stalled") and is_true(version, "Ready"))


# Reaching Qdrant


def test_qdrant_that_is_away_and_comes_back(tenant: Docs) -> None:
    port, grpc_port = paths.free_port(), paths.free_port()
    tenant.qdrant = Qdrant(f"http://127.0.0.1:{port}", grpc_port)
    tenant.edit(collection={"qdrant": {"url": tenant.qdrant.url, "grpcPort": grpc_port, "apiKeySecretRef": None}})
    tenant.declare()
    found = told_once(tenant, "Reconciling", "QdrantUnreachable", f":{port}", "Check that Qdrant runs", "grpcPort")
    assert condition(found, "Available")["status"] == "Unknown"  # type: ignore[index]

    with EmbeddedQdrant.start(rest_port=port, grpc_port=grpc_port) as server:
        tenant.look_again()  # it would by itself, but no sooner than in some seconds, and below it does
        serving = tenant.wait_ready()["active"]
        ledger = tenant.load(few())
        tenant.look_again()
        server.kill()
        tenant.look_again()
        away = tenant.wait_condition("Reconciling", "QdrantUnreachable")
        assert condition(away, "Ready")["status"] == "Unknown"  # type: ignore[index]
        assert condition(away, "Available")["status"] == "Unknown"  # type: ignore[index]
        assert away["status"]["active"] | {"points": 0} == serving | {"points": 0}
        server.restart()
        back = tenant.wait_ready()
        assert back["active"] | {"points": 0} == serving | {"points": 0}
        assert tenant.audit(ledger).ok


def test_keys_missing_misnamed_wrong_and_right(tenant: Docs) -> None:
    with EmbeddedQdrant.start(api_key=KEY) as server:
        where = {"url": server.url, "grpcPort": server.grpc_port}
        secret = f"{tenant.name}-key"
        tenant.edit(collection={"qdrant": {**where, "apiKeySecretRef": {"name": secret, "key": "token"}}})
        tenant.apply()
        told_once(tenant, "Stalled", "SecretNotFound", secret, "create it")
        tenant.cluster.create_secret(secret, {"tokn": KEY})
        told_once(tenant, "Stalled", "SecretKeyNotFound", secret, "token")
        tenant.cluster.patch_secret(secret, {"token": "guessed"})
        words = (server.url, "apiKeySecretRef", "manage permission")
        refused = told_once(tenant, "Stalled", "QdrantUnauthorized", *words)
        assert "guessed" not in str(refused["status"])
        tenant.cluster.patch_secret(secret, {"token": KEY})
        tenant.wait_ready()


@pytest.fixture(scope="module")
def trusted() -> Iterator[EmbeddedQdrant]:
    """A Qdrant behind TLS, with a certificate of an authority that nobody knows yet."""
    with EmbeddedQdrant.start(tls_cert=TLS / "server.pem", tls_key=TLS / "server.key") as server:
        yield server


def test_https_on_a_plain_port(tenant: Docs) -> None:
    with EmbeddedQdrant.start() as server:
        url = server.url.replace("http:", "https:")
        tenant.edit(collection={"qdrant": {"url": url, "grpcPort": server.grpc_port, "apiKeySecretRef": None}})
        tenant.apply()
        told_once(tenant, "Reconciling", "QdrantTLSFailed", url, "scheme fits the server")
        tenant.apply(collection={"qdrant": {"url": server.url}})
        tenant.wait_ready()


def test_http_on_a_tls_port_and_a_certificate_of_a_stranger(tenant: Docs, trusted: EmbeddedQdrant) -> None:
    secret = f"{tenant.name}-ca"
    plain = trusted.url.replace("https:", "http:")
    tenant.edit(collection={"qdrant": {"url": plain, "grpcPort": trusted.grpc_port, "apiKeySecretRef": None}})
    tenant.apply()
    # This server hangs up on plain text without a word; one that answers in TLS is recognised by that.
    told_once(tenant, "Reconciling", "QdrantUnreachable", plain, "spec.qdrant.url (http or https, host, port)")
    tenant.apply(collection={"qdrant": {"url": trusted.url}})
    tenant.look_again()
    told(tenant, "Reconciling", "QdrantTLSFailed", trusted.url, "certificate", "tls.caSecretRef holds the CA")
    tenant.cluster.create_secret(secret, {"ca.crt": "not a certificate"})
    tenant.apply(collection={"qdrant": {"tls": {"caSecretRef": {"name": secret, "key": "ca.crt"}}}})
    told_once(tenant, "Stalled", "BadCertificateAuthority", "not a PEM certificate", "caSecretRef")
    tenant.cluster.patch_secret(secret, {"ca.crt": (TLS / "ca.pem").read_text()})
    tenant.wait_ready()


def test_a_server_that_is_too_old(tenant: Docs) -> None:
    with EmbeddedQdrant.start(report_version="1.16.3") as server:
        where = {"url": server.url, "grpcPort": server.grpc_port, "apiKeySecretRef": None}
        tenant.apply(collection={"qdrant": where})
        told_once(tenant, "Stalled", "QdrantTooOld", "1.16.3", "needs 1.17", "Upgrade Qdrant")


def test_a_server_that_is_no_qdrant(tenant: Docs, encoders: EmbeddingServer) -> None:
    tenant.apply(collection={"qdrant": {"url": encoders.url.removesuffix("/v1"), "apiKeySecretRef": None}})
    told_once(tenant, "Stalled", "NotQdrant", "is not Qdrant's REST interface", "spec.qdrant.url")


def test_a_wrong_grpc_port(blue: Docs) -> None:
    with unharmed(blue):
        blue.apply(collection={"qdrant": {"grpcPort": paths.free_port()}}, embedding_set={"distance": "Cosine"})
        told_once(blue, "Reconciling", "QdrantUnreachable", "grpcPort", blue=True)
    blue.apply(collection={"qdrant": {"grpcPort": blue.qdrant.grpc_port}})
    assert blue.wait_ready()["active"]["distance"] == "Cosine"


# The EmbeddingSet and its embedder


def test_an_embedding_set_that_comes_later(tenant: Docs) -> None:
    tenant.cluster.apply([tenant.collection])
    told_once(tenant, "Stalled", "EmbeddingSetNotFound", repr(tenant.name), "Apply it, or correct the name")
    assert tenant.collections() == set()
    tenant.declare()
    tenant.wait_ready()


def test_an_embedder_that_is_down_and_comes_up(blue: Docs) -> None:
    port = paths.free_port()
    with unharmed(blue):
        url = f"http://127.0.0.1:{port}/v1"
        blue.apply(embedding_set={**ANOTHER, "embedder": {"openAI": {"url": url}}})
        told_once(blue, "Reconciling", "EmbedderUnavailable", url, "cannot be reached", blue=True)
        blue.wait_for(lambda _: of_the_set(blue) == "EmbedderUnavailable", what="told by the EmbeddingSet, too")
    with EmbeddingServer.start(models=(str(LARGE["model"]),), port=port):
        assert blue.wait_ready()["active"]["dimensions"] == LARGE["dimensions"]
    assert blue.info(blue.alias)["points_count"] == len(few())


def of_the_set(docs: Docs) -> str:
    """Why the EmbeddingSet is ready, or is not."""
    found = condition(docs.cluster.get("EmbeddingSet", docs.name), "Ready")
    return str(found and found["reason"])


TRANSIENT = {
    "not-json": ("EmbedderUnavailable", "Reconciling", "not JSON"),
    "wrong-count": ("EmbedderNonsense", "Stalled", "vectors for"),
    "bad-key": ("EmbedderRefused", "Stalled", "correct the key in embedder.openAI.apiKeySecretRef"),
}


def test_embedders_that_mend(blue: Docs, crowd: Gather) -> None:
    """One for each fault, side by side: what is tried again takes its time."""
    suffering = dict(zip(TRANSIENT, (blue, *crowd("second", "third")), strict=True))
    points = dict(zip(TRANSIENT, (few(), texts()[100:130], texts()[200:230]), strict=True))
    for docs in (each for each in suffering.values() if each is not blue):
        docs.declare()
    for fault, docs in suffering.items():
        docs.wait_ready()
        docs.load(points[fault])
    about = {fault: texts[7].text for fault, texts in points.items()}
    blue.encoders.faults(
        *({"kind": fault, "times": None, "agent": "teal", "containing": text} for fault, text in about.items())
    )
    with ExitStack() as stack:
        for docs in suffering.values():
            stack.enter_context(unharmed(docs))
            docs.apply(embedding_set=ANOTHER)
        for fault, (reason, kind, words) in TRANSIENT.items():
            told(suffering[fault], kind, reason, words, blue=True)
    blue.encoders.faults()
    for fault, (reason, _, _) in TRANSIENT.items():
        docs = suffering[fault]
        assert docs.wait_ready()["active"]["dimensions"] == LARGE["dimensions"]
        assert len(docs.events(reason)) == 1
        assert docs.info(docs.alias)["points_count"] == len(points[fault])


HELD = {
    "wrong-dimension": ("WrongDimensions", "95 dimensions where 96 are declared", "Correct dimensions or model"),
    "nan": ("BadVector", "with a NaN", "Look into the embedder's log"),
}


@pytest.mark.fault(10)
@pytest.mark.fault(19)
@pytest.mark.fault(19)
@pytest.mark.fault(18)
@pytest.mark.fault(18)
@pytest.mark.parametrize(("fault", "expected"), HELD.items(), ids=HELD)
def test_vectors_that_must_not_be_stored(blue: Docs, fault: str, expected: tuple[str, ...]) -> None:
    reason, *words = expected
    blue.encoders.faults({"kind": fault, "times": None, "agent": "teal", "containing": marked()})
    with unharmed(blue):
        blue.apply(embedding_set=ANOTHER)
        held = told_once(blue, "Stalled", reason, f"Point {point_of(blue, marked())}:", *words, blue=True)
        assert held["status"]["phase"] == "Held"
        blue.encoders.faults()
        again = told_once(blue, "Stalled", reason, "keeps serving", blue=True)
        assert again["status"]["migration"]["id"] == held["status"]["migration"]["id"]
    retried(blue, held)


def test_a_rate_limit_is_waited_out(blue: Docs) -> None:
    limit = {"kind": "rate-limit", "seconds": 1, "times": 2, "agent": "teal", "containing": marked()}
    blue.encoders.faults(limit)
    blue.apply(embedding_set=ANOTHER)
    assert blue.wait_ready()["active"]["dimensions"] == LARGE["dimensions"]
    assert [event["reason"] for event in blue.events() if event["type"] == "Warning"] == []


def test_a_text_that_is_missing(blue: Docs) -> None:
    point = point_of(blue, marked())
    serving = blue.aliases()[blue.alias]
    with blue.http() as http:
        clear = {"points": [point], "keys": ["text"]}
        path = f"/collections/{serving}/points/payload"
        http.post(f"{path}/delete?wait=true", json=clear).raise_for_status()
        with unharmed(blue):
            blue.apply(embedding_set=ANOTHER)
            words = (f"Point {point} has no text", "Add the text")
            held = told_once(blue, "Stalled", "TextMissing", *words, blue=True)
        mended = {"points": [point], "payload": {"text": marked()}}
        http.post(f"{path}?wait=true", json=mended).raise_for_status()
    retried(blue, held)


def point_of(docs: Docs, text: str) -> Any:
    """The id of the point that has this text."""
    with docs.http() as http:
        path = f"/collections/{docs.alias}/points/scroll"
        found = http.post(path, json={"limit": 2 * len(few())}).raise_for_status().json()["result"]["points"]
    return next(point["id"] for point in found if point["payload"].get("text") == text)


def retried(docs: Docs, held: Manifest) -> None:
    """The annotation that the message asks for makes the held migration go on, to its end."""
    migration = held["status"]["migration"]["id"]
    assert f"teal.dev/retry={migration}" in condition(held, "Stalled")["message"]  # type: ignore[index]
    docs.annotate(retry=migration)
    done = docs.wait_ready()
    assert done["active"]["dimensions"] == LARGE["dimensions"]
    assert done["migration"]["id"] != migration
    assert docs.info(docs.alias)["points_count"] == len(few())
    assert len(docs.events("MigrationRetried")) == 1


def test_a_budget_that_cannot_suffice(blue: Docs) -> None:
    with unharmed(blue):
        before = blue.collections()
        blue.apply(embedding_set={**ANOTHER, "embedder": {"budget": {"maxTokens": 50}}})
        told_once(blue, "Stalled", "BudgetTooSmall", "maxTokens is 50", "Raise it, or undo the change", blue=True)
        assert blue.collections() == before
    blue.apply(embedding_set={"embedder": {"budget": {"maxTokens": 10_000_000}}})
    assert blue.wait_ready()["active"]["dimensions"] == LARGE["dimensions"]


# Somebody else's


def foreign(docs: Docs, name: str) -> None:
    """A collection that Teal did not make, with a point."""
    with docs.http() as http:
        http.put(f"/collections/{name}", json={"vectors": {"size": 4, "distance": "Dot"}}).raise_for_status()
        points = {"points": [{"id": 1, "vector": [1, 2, 3, 4], "payload": {"whose": "theirs"}}]}
        http.put(f"/collections/{name}/points?wait=true", json=points).raise_for_status()


def test_an_alias_that_is_a_collection(tenant: Docs) -> None:
    foreign(tenant, tenant.alias)
    before = tenant.truth()
    tenant.declare()
    told_once(tenant, "Stalled", "AliasIsCollection", repr(tenant.alias), f"adopt.collection: {tenant.alias}")
    assert tenant.truth() == before


def test_an_alias_that_is_somebody_elses(tenant: Docs) -> None:
    theirs = f"{tenant.alias}-theirs"
    foreign(tenant, theirs)
    with tenant.http() as http:
        alias = {"create_alias": {"alias_name": tenant.alias, "collection_name": theirs}}
        http.post("/collections/aliases", json={"actions": [alias]}).raise_for_status()
        before = tenant.truth()
        tenant.declare()
        told_once(
            tenant, "Stalled", "AliasNotOwned", theirs, "was not created by Teal", "Choose another spec.alias"
        )
        assert tenant.truth() == before
        gone = {"delete_alias": {"alias_name": tenant.alias}}
        http.post("/collections/aliases", json={"actions": [gone]}).raise_for_status()
    assert tenant.wait_ready()["active"]["collection"] != theirs
    assert tenant.truth(theirs)["collections"] == {theirs: before["collections"][theirs]}


def test_a_name_that_is_taken(blue: Docs) -> None:
    serving = blue.aliases()[blue.alias]
    blue.apply(embedding_set={"distance": "Cosine"})
    taken = blue.wait_ready()["active"]["collection"]
    blue.apply(embedding_set={"distance": "Euclid"})
    blue.wait_ready()
    with blue.http() as http:
        http.delete(f"/collections/{taken}").raise_for_status()
    foreign(blue, taken)
    with unharmed(blue):
        theirs = blue.truth(taken)
        blue.apply(embedding_set={"distance": "Cosine"})
        told_once(blue, "Stalled", "CollectionNotOwned", taken, "was not created by Teal", "remove it", blue=True)
        assert blue.truth(taken) == theirs
    with blue.http() as http:
        http.delete(f"/collections/{taken}").raise_for_status()
    assert blue.wait_ready()["active"]["collection"] == taken != serving


def test_two_resources_on_one_alias(blue: Docs, resident: Resident) -> None:
    second = Docs(blue.qdrant, blue.encoders, blue.alias, resident.cluster, name=f"{blue.name}-2")
    second.operators = blue.operators
    second.edit(collection={"deletionPolicy": "Delete"})
    with unharmed(blue):
        before = blue.truth()
        second.apply()
        owner = f"{resident.cluster.namespace}/{blue.name}"
        told_once(second, "Stalled", "AliasNotOwned", owner, "Choose another spec.alias")
        second.cluster.delete("VectorCollection", second.name)
        second.wait_gone()
        assert blue.truth() == before
        blue.look_again()
        blue.wait_ready()


# What the spec asks for


def test_lengths_are_not_lost_unasked(blue: Docs) -> None:
    blue.apply(embedding_set={"distance": "Cosine"})
    blue.wait_ready()
    with unharmed(blue):
        blue.apply(embedding_set={"distance": "Dot"})
        told_once(blue, "Stalled", "MagnitudesLost", "lengths", "allowNormalized: true", blue=True)
    blue.apply(collection={"migration": {"allowNormalized": True}})
    assert blue.wait_ready()["active"]["distance"] == "Dot"


def test_in_place_only(blue: Docs) -> None:
    with unharmed(blue):
        blue.apply(embedding_set={"distance": "Cosine"}, collection={"migration": {"strategy": "InPlaceOnly"}})
        words = ("InPlaceOnly", "distance: Euclid → Cosine")
        told_once(blue, "Stalled", "NewCollectionNeeded", *words, blue=True)
    blue.apply(collection={"migration": {"strategy": "Auto"}})
    assert blue.wait_ready()["active"]["distance"] == "Cosine"


def test_vectors_without_an_embedder(blue: Docs) -> None:
    with unharmed(blue):
        blue.apply(embedding_set={**ANOTHER, "embedder": None, "source": None})
        told_once(blue, "Stalled", "EmbedderRequired", "dimensions: 64 → 96", "embedder and source", blue=True)
    blue.apply(embedding_set={**SMALL, "schemaVersion": "v1"})
    blue.wait_ready()


def test_what_is_not_supported_yet(blue: Docs) -> None:
    asked = {"strategy": "BlueGreen", "runner": "Job"}
    with unharmed(blue):
        blue.apply(embedding_set={"distance": "Cosine"}, collection={"migration": asked})
        paths_of = ("spec.migration.strategy: BlueGreen", "spec.migration.runner: Job")
        told_once(blue, "Stalled", "NotSupportedYet", *paths_of, blue=True)
    blue.apply(collection={"migration": {"strategy": None, "runner": None}})
    assert blue.wait_ready()["active"]["distance"] == "Cosine"
