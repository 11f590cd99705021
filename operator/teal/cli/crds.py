"""`teal crds`: the CustomResourceDefinitions, rendered from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teal.cli.complaints import complaints


def crds(
    output: Annotated[Path | None, typer.Option(help="Write the files into this folder.")] = None,
    check: Annotated[Path | None, typer.Option(help="Compare with the files in this folder.")] = None,
) -> None:
    """Print the CRDs (pipe them into kubectl apply --server-side -f -), or write or compare the files of a
    folder.
    """
    from teal.api import crd

    with complaints("crds"):
        if output is not None:
            for path in crd.write(output):
                typer.echo(f"wrote {path}")
        elif check is not None:
            _check(crd.check(check))
        else:
            typer.echo("---\n".join(crd.render().values()), nl=False)


def _check(differences: list[str]) -> None:
    for difference in differences:
        typer.echo(difference, err=True)
    if differences:
        typer.echo("Run `make crds` and commit the result.", err=True)
        raise typer.Exit(1)
