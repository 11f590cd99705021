"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

DEFAULT_NAMESPACE = "default"

Files = Annotated[
    list[str],
    typer.Option("--filename", "-f", help="Manifests: a file, a folder, or - for standard input. Repeatable."),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of manifests that name none.")]
Output = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="For people or for machines.")]
