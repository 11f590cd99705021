"""`teal status`: one line for each VectorCollection of a cluster, or one with its migration and checks."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from teal.cli.complaints import complaints
from teal.cli.options import Output
from teal.cli.progress import progress_of

COLUMNS = ("NAMESPACE", "NAME", "READY", "PHASE", "PROGRESS", "ACTIVE", "DIM", "DISTANCE", "SCHEMA")
PIPE_WIDTH = 1000
"""Do not wrap: the reader of a pipe cuts lines."""


def status(
    name: Annotated[str | None, typer.Argument(help="One VectorCollection, in detail.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,  # noqa: FBT002
    output: Output = "text",
    kubeconfig: Annotated[str | None, typer.Option(help="Path to a kubeconfig.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Show the phase and conditions of VectorCollections."""
    # Here, because the API server's client takes a second to import and the other commands do without.
    from teal.cli.cluster import ClusterError, list_collections

    with complaints("status", ClusterError):
        where, found = asyncio.run(list_collections(kubeconfig, context, namespace, all_namespaces))
    if name:
        found = [each for each in found if each["metadata"]["name"] == name]
        if not found:
            typer.echo(f"teal status: no VectorCollection {name!r} in {where}", err=True)
            raise typer.Exit(1)
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if output == "json":
        console.print_json(json.dumps(found))
    elif name:
        for each in found:
            for line in described(each):
                console.print(line, highlight=False, markup=False)
    elif found:
        console.print(table(found))
    else:
        typer.echo(f"No VectorCollection in {where}.", err=True)


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    """One line for each."""
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
    """Status and message of the condition; Unknown if it is absent."""
    for each in now.get("conditions") or ():
        if each["type"] == kind:
            return each["status"], each.get("message", "")
    return "Unknown", ""


def described(each: Mapping[str, Any]) -> Iterator[str]:
    """Everything that the status of one resource says, line by line."""
    now = each.get("status") or {}
    yield f"{each['metadata']['namespace']}/{each['metadata']['name']}  {now.get('phase', 'Pending')}"
    for row in now.get("conditions") or ():
        yield f"  {row['type']:<12} {row['status']:<8} {row['reason']}: {row.get('message', '')}"
    migration = now.get("migration") or {}
    if migration:
        yield f"  migration    {migration.get('id', '')} {migration.get('source')} → {migration.get('target')}"
        for reason in migration.get("reasons") or ():
            yield f"    because    {reason}"
        done, words = progress_of(now)
        yield f"    progress   {done:.0f} % {words}"
        for check in (migration.get("verification") or {}).get("checks") or ():
            yield f"    {check['verdict']:<10} {check['name']}: {check.get('message', '')}"
        if (migration.get("writes") or {}).get("proof"):
            yield f"    writes     {migration['writes']['proof']}"
    for kept in now.get("retained") or ():
        yield f"  retained     {kept['collection']} until {kept.get('retainUntil')}"
