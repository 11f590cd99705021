"""`teal status`: every VectorCollection of a cluster in a line, or one with its migration and checks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from teal.cli.apply import progress_of
from teal.cli.options import Output

COLUMNS = ("NAMESPACE", "NAME", "READY", "PHASE", "PROGRESS", "ACTIVE", "DIM", "DISTANCE", "SCHEMA")


def status(
    name: Annotated[str | None, typer.Argument(help="One VectorCollection, in detail.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,  # noqa: FBT002
    output: Output = "text",
    kubeconfig: Annotated[str | None, typer.Option(help="Path to a kubeconfig.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Show where VectorCollections stand."""
    # Here, because the API server's client takes a second to import and the other commands do without.
    from teal.cli.cluster import list_collections

    found = asyncio.run(
        list_collections(kubeconfig, context, None if all_namespaces else namespace, all_namespaces)
    )
    if name:
        found = [each for each in found if each["metadata"]["name"] == name]
        if not found:
            typer.echo(f"No VectorCollection {name!r} found.", err=True)
            raise typer.Exit(1)
    console = Console(soft_wrap=True)
    if output == "json":
        console.print_json(json.dumps(found))
    elif name:
        for each in found:
            describe(console, each)
    else:
        console.print(table(found))


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    """All of them, a line each."""
    drawn = Table(*COLUMNS, box=None, pad_edge=False)
    for each in found:
        now = each.get("status") or {}
        active = now.get("active") or {}
        done, _ = progress_of(now) if now.get("phase") else (0.0, "")
        drawn.add_row(
            each["metadata"]["namespace"], each["metadata"]["name"], condition(now, "Ready")[0],
            now.get("phase", "Pending"), f"{done:.0f} %", active.get("collection", ""),
            str(active.get("dimensions", "")), active.get("distance", ""), active.get("schemaVersion", ""),
        )  # fmt: skip
    return drawn


def condition(now: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Its status and its message; Unknown where there is none."""
    for each in now.get("conditions") or ():
        if each["type"] == kind:
            return each["status"], each.get("message", "")
    return "Unknown", ""


def describe(console: Console, each: Mapping[str, Any]) -> None:
    """One of them, with everything that its status says."""
    now = each.get("status") or {}
    console.print(f"[bold]{each['metadata']['namespace']}/{each['metadata']['name']}[/bold]  {now.get('phase')}")
    for row in now.get("conditions") or ():
        console.print(
            f"  {row['type']:<12} {row['status']:<8} {row['reason']}: {row.get('message', '')}", highlight=False
        )
    migration = now.get("migration") or {}
    if migration:
        console.print(
            f"  migration    {migration.get('id', '')} {migration.get('source')} → {migration.get('target')}"
        )
        for reason in migration.get("reasons") or ():
            console.print(f"    because    {reason}", highlight=False)
        done, words = progress_of(now)
        console.print(f"    progress   {done:.0f} % {words}", highlight=False)
        for check in (migration.get("verification") or {}).get("checks") or ():
            console.print(
                f"    {check['verdict']:<10} {check['name']}: {check.get('message', '')}", highlight=False
            )
        if (migration.get("writes") or {}).get("proof"):
            console.print(f"    writes     {migration['writes']['proof']}", highlight=False)
    for kept in now.get("retained") or ():
        console.print(f"  retained     {kept['collection']} until {kept.get('retainUntil')}", highlight=False)
