"""`teal plan -f`: what the operator would do to this Qdrant, why, and what it would wait for. Changes nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from teal.cli.complaints import complaints
from teal.cli.options import DEFAULT_NAMESPACE, Files, Namespace, Output
from teal.domain.plan import Strategy
from teal.domain.policy import Do

if TYPE_CHECKING:
    from teal.cli.manifests import Manifests
    from teal.migration.report.record import ReconcileRecord

NOTHING, CHANGES, IMPOSSIBLE = 0, 2, 1

STEPS = {
    Strategy.CREATE: ("create {target}", "index", "point the alias at it"),
    Strategy.BLUE_GREEN: (
        "create {target} beside {source}",
        "{population} its points, while {source} serves",
        "catch up with the writes made in the meantime",
        "build the indexes",
        "verify ids, counts, content, vectors and indexes",
        "move the alias by one action, when no write can be lost",
        "watch, then keep {source} until its retention ends",
    ),
    Strategy.ROLLBACK: (
        "bring {target}, which is retained, up to date with the writes since the cut-over",
        "move the alias back by one action",
    ),
}
WORDS = {"Copy": "copy", "ReEmbed": "embed the text of", "None": "make"}


def plan(
    files: Files,
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: Output = "text",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 2 when there are changes.")] = False,  # noqa: FBT002
) -> None:
    """Show what the operator would do to Qdrant, why, and what it would wait for. Nothing is changed.

    Exit status: 0 if there is a plan (with --exit-code: 2 if it has changes), 1 if the operator would refuse.
    """
    from teal.api.manifest import ManifestError
    from teal.cli.manifests import load

    with complaints("plan", ManifestError):
        found = asyncio.run(_plan(load(files, namespace)))
    console = Console(soft_wrap=True)
    if output == "json":
        console.print_json(json.dumps([describe(each) for each in found]))
    else:
        for each in found:
            render(console, each)
    if any(each.error for each in found):
        raise typer.Exit(IMPOSSIBLE)
    if exit_code and any(each.decision and each.decision.do is not Do.REST for each in found):
        raise typer.Exit(CHANGES)


async def _plan(manifests: Manifests) -> list[ReconcileRecord]:
    from teal.cli.manifests import CLUSTER
    from teal.migration.engine import Engine

    engine = Engine(manifests.secrets, CLUSTER)
    try:
        return [await engine.plan(resource) for resource in manifests.resources]
    finally:
        await engine.close()


def describe(found: ReconcileRecord) -> dict[str, Any]:
    """The plan of one resource, for machines."""
    from teal.cli.gates import gates
    from teal.migration.copying.forecast import Cost

    row: dict[str, Any] = {"resource": found.resource.key, "alias": found.resource.manifest.alias}
    if found.error:
        return row | {"error": {"reason": found.error.reason, "message": found.error.message}}
    if found.decision is None:
        return row
    decision, plan = found.decision, found.decision.plan
    row |= {
        "next": decision.do.value,
        "rule": decision.rule,
        "strategy": plan.strategy.value,
        "planHash": plan.hash,
        "source": plan.source,
        "target": plan.target,
        "population": plan.population.value,
        "reasons": [str(reason) for reason in plan.reasons],
        "warnings": list(plan.warnings),
        "steps": steps(found),
        "gates": {gate.key: gate.fields for gate in gates(found)},
    }
    if forecast := found.session.part(Cost).forecast:
        row["forecast"] = forecast.as_json()
    return row


def steps(found: ReconcileRecord) -> list[str]:
    """The plan in words, in order."""
    if found.decision is None or found.decision.do is Do.REST:
        return []
    decision, plan = found.decision, found.decision.plan
    if decision.do is Do.STAY and decision.declined:
        why, name = decision.declined.message, decision.declined.id
        return [f"stay with {plan.source}: {why} Change the spec, or annotate teal.dev/retry={name}"]
    if plan.strategy is Strategy.IN_PLACE:
        return [f"set {change}" for change in decision.in_place.changes]
    words = {"target": plan.target, "source": plan.source, "population": WORDS[plan.population.value]}
    named = [line.format(**words) for line in STEPS.get(plan.strategy, ())]
    return named or [f"{decision.do.value} {decision.subject or ''}".strip()]


def render(console: Console, found: ReconcileRecord) -> None:
    from teal.cli.gates import gates
    from teal.migration.copying.forecast import Cost

    row = describe(found)
    console.print(f"[bold]{row['resource']}[/bold] (alias {row['alias']})", highlight=False)
    if "error" in row:
        reason, message = row["error"]["reason"], escape(row["error"]["message"])
        console.print(f"  [red]{reason}[/red]: {message}", highlight=False)
        return
    if not row["steps"]:
        console.print("  [green]nothing to do[/green]: Qdrant is as declared")
        return
    console.print(f"  strategy  {row['strategy']}   plan {row['planHash']}", highlight=False)
    console.print(f"  next      {row['next']} (rule {row['rule']})", highlight=False, markup=False)
    for label in ("reasons", "warnings"):
        for text in row[label]:
            console.print(f"  {label[:-1]:<8}  {text}", highlight=False, markup=False)
    if forecast := found.session.part(Cost).forecast:
        console.print(f"  forecast  {forecast}", highlight=False)
    for gate in gates(found):
        console.print(f"  gate      {gate.label}: {gate.text}", highlight=False, markup=False)
    for number, text in enumerate(row["steps"], 1):
        console.print(f"  {number}. {text}", highlight=False, markup=False)
