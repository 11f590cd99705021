"""`teal plan`, `apply`, `status` and `crds` as a pipeline runs them: exit statuses, two outputs, interruptions.

Nobody stands between these commands and Qdrant, so what they refuse, and that they touch nothing when they only
plan, is as much promised as what they do. No mistake of a user's may end in a traceback.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

import teal
from devkit import paths
from devkit.cluster import Cluster
from devkit.embeddings import EmbeddingServer
from devkit.processes import Process
from devkit.qdrant import EmbeddedQdrant
from teal.cli.main import app
from tests.e2e.support import COMPARED, IN_FLIGHT, LARGE, NAME, SECRET, Docs, texts
from tests.plugins.operator import StartOperator
from tests.plugins.qdrant import Qdrant

TEAL = [sys.executable, "-m", "teal.cli.main"]
CRDS = Path(__file__).parents[2] / "crds"
KEY = "the-key"


def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    """One command to its end; no exception may get out, for a user would be shown its traceback."""
    done = CliRunner().invoke(app, arguments, input=stdin, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def succeed(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    done = run(*arguments, stdin=stdin, env=env)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def pipeline(qdrant: Qdrant, encoders: EmbeddingServer, prefix: str) -> Iterator[Docs]:
    """Documents that are declared by manifests alone, without a cluster."""
    yield Docs(qdrant, encoders, f"{prefix}docs")
    encoders.faults()


def plan(docs: Docs, *options: str) -> dict[str, Any]:
    """The plan for the manifests of now; Qdrant holds the same before and after it."""
    before = docs.truth()
    (found,) = json.loads(succeed("plan", "-f", "-", "-o", "json", *options, stdin=docs.manifests()).stdout)
    assert docs.truth() == before
    row: dict[str, Any] = found
    return row


def apply(docs: Docs, *options: str) -> dict[str, Any]:
    """Carry the manifests of now out; the status that it ends with."""
    done = succeed("apply", "-f", "-", "-o", "json", *options, stdin=docs.manifests())
    found: dict[str, Any] = json.loads(done.stdout)[f"default/{docs.name}"]
    return found


# plan


def test_plan_says_each_way_to_match_and_touches_nothing(pipeline: Docs) -> None:
    created = plan(pipeline)
    assert (created["strategy"], created["source"]) == ("Create", None)
    assert created["steps"][0] == f"create {created['target']}"
    assert pipeline.collections() == set()

    assert apply(pipeline)["active"]["collection"] == created["target"]
    pipeline.load()
    at_rest = plan(pipeline, "--exit-code")
    assert (at_rest["next"], at_rest["steps"]) == ("rest", [])

    pipeline.edit(collection={"hnsw": {"m": 12}})
    tuned = plan(pipeline)
    assert (tuned["strategy"], tuned["target"]) == ("InPlace", created["target"])
    assert any("hnsw_config.m" in step and "12" in step for step in tuned["steps"])

    pipeline.edit(collection={"hnsw": {"m": 8}}, embedding_set={"distance": "Cosine"})
    copied = plan(pipeline)
    assert (copied["strategy"], copied["population"]) == ("BlueGreen", "Copy")
    assert copied["source"] == created["target"] != copied["target"]
    assert copied["reasons"] == ["distance: Euclid → Cosine"]
    assert copied["forecast"]["points"] == len(texts())
    assert copied["forecast"]["embeddingTexts"] == 0

    pipeline.edit(embedding_set={"distance": "Euclid", "schemaVersion": "v2", **LARGE})
    made_anew = plan(pipeline)
    assert (made_anew["strategy"], made_anew["population"]) == ("BlueGreen", "ReEmbed")
    assert made_anew["forecast"]["embeddingTexts"] == len(texts())
    assert made_anew["forecast"]["embeddingTokens"] > len(texts())
    assert {reason.partition(":")[0] for reason in made_anew["reasons"]} == {
        "schemaVersion",
        "model",
        "dimensions",
    }
    changes = run("plan", "-f", "-", "--exit-code", stdin=pipeline.manifests())
    assert changes.exit_code == 2
    assert "strategy  BlueGreen" in changes.stdout
    assert "embed the text of its points" in changes.stdout


def test_plan_of_the_way_back(pipeline: Docs) -> None:
    old = apply(pipeline)["active"]["collection"]
    pipeline.load(texts()[:50])
    pipeline.edit(embedding_set={"distance": "Cosine"})
    assert apply(pipeline, "--watch")["active"]["collection"] != old
    pipeline.edit(embedding_set={"distance": "Euclid"})
    back = plan(pipeline)
    assert (back["strategy"], back["target"]) == ("Rollback", old)
    assert "retained" in back["steps"][0]


def test_plan_refuses_what_cannot_be_done(pipeline: Docs) -> None:
    apply(pipeline)
    pipeline.load(texts()[:50])
    before = pipeline.truth()
    pipeline.edit(embedding_set={**LARGE, "embedder": None, "source": None})
    refused = run("plan", "-f", "-", stdin=pipeline.manifests())
    assert refused.exit_code == 1
    assert "EmbedderRequired" in refused.stdout
    assert "embedder and source.collection.textField" in refused.stdout
    for_machines = run("plan", "-f", "-", "-o", "json", "--exit-code", stdin=pipeline.manifests())
    assert for_machines.exit_code == 1
    assert json.loads(for_machines.stdout)[0]["error"]["reason"] == "EmbedderRequired"
    assert pipeline.truth() == before


def test_plan_refuses_what_the_budget_cannot_pay(pipeline: Docs) -> None:
    apply(pipeline)
    pipeline.load(texts()[:50])
    pipeline.edit(embedding_set={**LARGE, "schemaVersion": "v2", "embedder": {"budget": {"maxTokens": 100}}})
    refused = run("plan", "-f", "-", stdin=pipeline.manifests())
    assert refused.exit_code == 1
    assert "BudgetTooSmall" in refused.stdout
    assert "maxTokens is 100" in refused.stdout


def test_plan_needs_the_embedding_set(pipeline: Docs) -> None:
    refused = run("plan", "-f", "-", stdin=yaml.safe_dump(pipeline.collection))
    assert refused.exit_code == 1
    assert "EmbeddingSetNotFound" in refused.stdout
    assert "no EmbeddingSet of that name" in refused.stdout.replace("\n", " ")


def test_an_unreachable_qdrant_is_one_line(pipeline: Docs) -> None:
    pipeline.edit(collection={"qdrant": {"url": f"http://127.0.0.1:{paths.free_port()}"}})
    refused = run("plan", "-f", "-", stdin=pipeline.manifests())
    assert refused.exit_code == 1
    assert "QdrantUnreachable" in refused.stdout
    assert "Check that Qdrant runs" in refused.stdout


def test_manifests_from_files_folders_and_standard_input(pipeline: Docs, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(pipeline.manifests()))
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "deployment.yml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n")
    files = [argument for path in sorted(tmp_path.iterdir()) for argument in ("-f", str(path))]
    ways = [("-f", str(tmp_path)), tuple(files), ("-f", "-")]
    plans = [succeed("plan", *way, "-o", "json", stdin=pipeline.manifests()).stdout for way in ways]
    assert plans[0] == plans[1] == plans[2]
    assert json.loads(plans[0])[0]["resource"] == "default/docs"
    elsewhere = succeed("plan", "-f", str(tmp_path), "-n", "search", "-o", "json").stdout
    assert json.loads(elsewhere)[0]["resource"] == "search/docs"


COLLECTION = """\
apiVersion: teal.dev/v1alpha1
kind: VectorCollection
metadata: {name: docs}
spec: {qdrant: {url: "http://127.0.0.1:1"}, dimensions: 4}
"""

MISTAKES = {
    "unknown field": (
        COLLECTION.replace("dimensions", "dimensons"),
        ["spec.dimensons", "did you mean dimensions?"],
    ),
    "bad value": (
        COLLECTION.replace("dimensions: 4", "dimensions: 4, distance: Cosin"),
        ["spec.distance", "'Cosine'", "got 'Cosin'"],
    ),
    "unknown kind": (COLLECTION.replace("VectorCollection", "VectorColection"), ["VectorColection", "expected"]),
    "unknown version": (COLLECTION.replace("v1alpha1", "v7"), ["teal.dev/v7", "expected apiVersion"]),
    "not YAML": ("spec: [", ["standard input", "is not YAML"]),
    "not text": ("\0\1", ["standard input", "is not YAML"]),
    "not an object": ("- a\n- list\n", ["standard input", "must be an object"]),
    "nothing": ("", ["no VectorCollection"]),
    "no VectorCollection": ("kind: Deployment\n", ["no VectorCollection"]),
    "twice": (f"{COLLECTION}---\n{COLLECTION}", ["default/docs", "given twice"]),
    "nameless Secret": (f"{COLLECTION}---\nkind: Secret\n", ["Secret without a name"]),
    "plain text in data": (
        f"{COLLECTION}---\nkind: Secret\nmetadata: {{name: qdrant}}\ndata: {{key: not*base64}}\n",
        ["Secret qdrant", "data.key", "stringData"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["plan", "apply"])
@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_manifests(command: str, text: str, words: list[str]) -> None:
    refused = run(command, "-f", "-", stdin=text)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(f"teal {command}: ")
    for word in words:
        assert word in refused.stderr
    assert "not*base64" not in refused.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused = run("plan", "-f", str(tmp_path / "missing.yaml"))
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "missing.yaml" in refused.stderr


# apply


def test_apply_creates_migrates_and_rests(pipeline: Docs) -> None:
    made = run("apply", "-f", "-", stdin=pipeline.manifests())
    assert made.exit_code == 0
    assert made.stdout == ""
    assert "CollectionCreated" in made.stderr
    assert f"default/{NAME}: Ready" in made.stderr
    ledger = pipeline.load()

    pipeline.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    moved = succeed("apply", "-f", "-", stdin=pipeline.manifests())
    lines = moved.stderr.splitlines()
    phases = ["Populating", "Watching"]
    shown = [next(i for i, line in enumerate(lines) if line.startswith(f"default/{NAME}: {p}")) for p in phases]
    assert shown == sorted(shown)
    assert any(f"/{len(texts())} points" in line for line in lines)
    assert any("MigrationForecast" in line and f"{len(texts())} texts to embed" in line for line in lines)
    assert any("CutoverCompleted" in line for line in lines)
    assert pipeline.audit(ledger).ok

    status = apply(pipeline, "--watch")
    assert (status["phase"], status["active"]["dimensions"]) == ("Ready", LARGE["dimensions"])
    before = pipeline.truth()
    assert apply(pipeline, "--watch")["active"]["collection"] == status["active"]["collection"]
    after = pipeline.truth()
    logs = before.pop("logs"), after.pop("logs")
    assert after == before
    # Another process compares what is kept in step, and a round begins with a barrier, which changes nothing.
    for then, now in ((found[name] for found in logs) for name in logs[0]):
        assert [now.op_nums[shard] - number for shard, number in then.op_nums.items()] == [1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_apply_goes_on(pipeline: Docs, tmp_path: Path, how: signal.Signals) -> None:
    apply(pipeline)
    ledger = pipeline.load()
    pipeline.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    manifests = tmp_path / "docs.yaml"
    manifests.write_text(pipeline.manifests())
    paid = pipeline.encoders.calls("teal")
    pipeline.encoders.faults({"kind": "hang", "seconds": 0.5, "times": None, "agent": "teal"})
    with Process("apply", [*TEAL, "apply", "-f", str(manifests)], tmp_path / "log") as running:
        running.wait_ready(lambda: pipeline.encoders.calls("teal").texts > paid.texts + IN_FLIGHT, 60)
        running.popen.send_signal(how)
        assert running.popen.wait(30) == 130
        assert "continues where it stopped" in running.tail(1)
        assert "Traceback" not in running.tail(200)
    assert pipeline.info(pipeline.alias)["config"]["params"]["vectors"]["size"] != LARGE["dimensions"]

    pipeline.encoders.faults()
    assert apply(pipeline)["active"]["dimensions"] == LARGE["dimensions"]
    assert pipeline.audit(ledger).ok
    spent = pipeline.encoders.calls("teal").texts - paid.texts
    assert len({entry.text for entry in texts()}) <= spent <= len(texts()) + IN_FLIGHT + COMPARED


def test_apply_gives_up_in_time(pipeline: Docs) -> None:
    apply(pipeline)
    pipeline.load(texts()[:50])
    serving = pipeline.aliases()[pipeline.alias]
    pipeline.edit(embedding_set={**LARGE, "schemaVersion": "v2"})
    pipeline.encoders.faults({"kind": "hang", "seconds": 60, "times": None, "agent": "teal"})
    late = run("apply", "-f", "-", "--timeout", "1", "-o", "json", stdin=pipeline.manifests())
    assert late.exit_code == 3
    assert json.loads(late.stdout)["default/docs"]["phase"] == "Populating"
    assert pipeline.aliases()[pipeline.alias] == serving


def test_apply_ends_when_it_is_stalled(pipeline: Docs) -> None:
    with pipeline.http() as http:
        vectors = {"vectors": {"size": 4, "distance": "Dot"}}
        http.put(f"/collections/{pipeline.alias}", json=vectors).raise_for_status()
    before = pipeline.truth()
    stalled = run("apply", "-f", "-", stdin=pipeline.manifests())
    assert stalled.exit_code == 1
    assert "AliasIsCollection" in stalled.stderr
    assert f"set spec.adopt.collection: {pipeline.alias}" in stalled.stderr
    assert pipeline.truth() == before


@pytest.fixture(scope="module")
def locked() -> Iterator[EmbeddedQdrant]:
    """A Qdrant that wants a key."""
    with EmbeddedQdrant.start(api_key=KEY) as server:
        yield server


def secretive(docs: Docs, locked: EmbeddedQdrant) -> str:
    where = {"url": locked.url, "grpcPort": locked.grpc_port, "apiKeySecretRef": {"name": SECRET, "key": "key"}}
    docs.edit(collection={"qdrant": where})
    return yaml.safe_dump_all([docs.embedding_set, docs.collection])


def test_keys_from_manifests_and_from_the_environment(pipeline: Docs, locked: EmbeddedQdrant) -> None:
    manifests = secretive(pipeline, locked)
    variable = f"TEAL_SECRET_{SECRET.upper()}_KEY"
    missing = run("plan", "-f", "-", stdin=manifests)
    assert missing.exit_code == 1
    assert "SecretNotFound" in missing.stdout
    assert variable in missing.stdout

    wrong = run("plan", "-f", "-", stdin=manifests, env={variable: "guessed"})
    assert wrong.exit_code == 1
    assert "QdrantUnauthorized" in wrong.stdout
    assert "guessed" not in wrong.stdout + wrong.stderr

    succeed("apply", "-f", "-", stdin=manifests, env={variable: KEY})
    secret = f"\n---\nkind: Secret\nmetadata: {{name: {SECRET}}}\nstringData: {{key: {KEY}}}\n"
    assert "nothing to do" in succeed("plan", "-f", "-", stdin=manifests + secret).stdout
    assert "nothing to do" in succeed("plan", "-f", "-", "-n", "default", stdin=manifests + secret).stdout
    # A Secret that names no namespace belongs to the resource's, whichever that is.
    elsewhere = run("plan", "-f", "-", "-n", "search", "-o", "json", stdin=manifests + secret)
    error = json.loads(elsewhere.stdout)[0]["error"]
    assert error["reason"] == "AliasNotOwned"
    assert "belongs to the VectorCollection default/docs" in error["message"]
    assert "adopt" not in error["message"]
    assert KEY not in elsewhere.stdout


# status


def test_status_of_a_cluster(docs: Docs, operator: StartOperator) -> None:
    cluster = docs.cluster
    env = {"KUBECONFIG": str(cluster.kubeconfig)}
    here = ("-n", cluster.namespace)
    nothing = succeed("status", *here, env=env)
    assert nothing.stdout == ""
    assert f"No VectorCollection in namespace {cluster.namespace}" in nothing.stderr

    docs.declare()
    waiting = succeed("status", *here, env=env)
    assert waiting.stdout.splitlines()[1].split()[:4] == [cluster.namespace, NAME, "Unknown", "Pending"]

    operator()
    docs.wait_ready()
    docs.load(texts()[:50])
    docs.apply(embedding_set={"distance": "Cosine"})
    status = docs.wait_ready()
    head, line = succeed("status", *here, env=env).stdout.splitlines()
    assert head.split()[:5] == ["NAMESPACE", "NAME", "READY", "PHASE", "PROGRESS"]
    serving = status["active"]["collection"]
    assert line.split() == [cluster.namespace, NAME, "True", "Ready", "100", "%", serving, "64", "Cosine", "v1"]
    everywhere = succeed("status", "-A", env=env).stdout
    assert line.split() in [each.split() for each in everywhere.splitlines()]

    one = succeed("status", NAME, *here, env=env).stdout
    assert f"migration    {status['migration']['id']}" in one
    assert "because    distance: Euclid → Cosine" in one
    assert "Passed     Content" in one
    assert f"retained     {status['retained'][0]['collection']}" in one
    (found,) = json.loads(succeed("status", NAME, *here, "-o", "json", env=env).stdout)
    assert found["status"]["active"]["collection"] == serving


def test_status_of_what_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(cluster.kubeconfig)}
    unknown = run("status", "missing", "-n", cluster.namespace, env=env)
    assert unknown.exit_code == 1
    assert unknown.stderr == f"teal status: no VectorCollection 'missing' in namespace {cluster.namespace}\n"
    nowhere = run("status", "--kubeconfig", str(tmp_path / "missing"))
    assert nowhere.exit_code == 1
    assert nowhere.stderr.startswith("teal status: no connection to the API server")
    assert nowhere.stderr.count("\n") == 1
    dead = yaml.safe_load(cluster.kubeconfig.read_text())
    for each in dead["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{paths.free_port()}"
    (tmp_path / "dead").write_text(yaml.safe_dump(dead))
    unreachable = run("status", "--kubeconfig", str(tmp_path / "dead"))
    assert unreachable.exit_code == 1
    assert unreachable.stderr.startswith("teal status: ")
    assert unreachable.stderr.count("\n") == 1


# The rest


def test_crds_are_those_of_the_repository(tmp_path: Path) -> None:
    printed = list(yaml.safe_load_all(succeed("crds").stdout))
    assert [each["spec"]["names"]["kind"] for each in printed] == ["EmbeddingSet", "VectorCollection"]
    assert printed == [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    succeed("crds", "--check", str(CRDS))
    succeed("crds", "--output", str(tmp_path / "new"))
    succeed("crds", "--check", str(tmp_path / "new"))
    changed = min((tmp_path / "new").iterdir())
    changed.write_text(changed.read_text().replace("Namespaced", "Cluster"))
    differs = run("crds", "--check", str(tmp_path / "new"))
    assert differs.exit_code == 1
    assert "-  scope: Cluster" in differs.stderr
    unwritable = run("crds", "--output", str(changed))
    assert unwritable.exit_code == 1
    assert unwritable.stderr.startswith("teal crds: ")


def test_version_and_help() -> None:
    assert succeed("--version").stdout == f"teal {teal.__version__}\n"
    for command in ("run", "plan", "apply", "status", "crds"):
        assert command in succeed("--help").stdout
        assert "Usage" in succeed(command, "--help").stdout


def test_commands_load_only_what_they_need() -> None:
    """A second of imports, for a command that a person waits for: only those that need a client load it."""
    seen = "import sys, teal.cli.main; print(*sorted({'kopf', 'kubernetes', 'qdrant_client'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", seen], text=True) == "\n"  # noqa: S603
