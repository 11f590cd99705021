"""The command `teal`; each sub-command has a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

import teal
from teal.cli.apply import apply
from teal.cli.crds import crds
from teal.cli.plan import plan
from teal.cli.run import run
from teal.cli.status import status
from teal.cli.verify import verify

app = typer.Typer(
    name="teal",
    help="Keep Qdrant collections as declared: blue-green migrations without a failed read.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
for command in (run, plan, apply, status, verify, crds):
    app.command()(command)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"teal {teal.__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep Qdrant collections as declared: blue-green migrations without a failed read."""


if __name__ == "__main__":
    app()
