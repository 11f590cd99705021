"""`python -m devkit.control_plane`: run a control plane until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from devkit.control_plane.control_plane import ControlPlane


def main(
    *,
    crds: Annotated[
        Path | None,
        typer.Option(help="Apply the CustomResourceDefinitions in this folder.", exists=True, file_okay=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The data folder (default: TEAL_DEVKIT_HOME or ~/.cache/teal-devkit).")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The API server's port (default: a free one).")] = None,
    controllers: Annotated[bool, typer.Option("--controllers", help="Run kube-controller-manager too.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave logs and data behind.")] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only build what a start would have to build.")
    ] = False,
) -> None:
    """Run a local Kubernetes control plane until Ctrl-C or SIGTERM, and print its kubeconfig."""
    if data is not None:
        os.environ["TEAL_DEVKIT_HOME"] = str(data.resolve())
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if prepare:
            ControlPlane.prepare()
            return
        plane = ControlPlane.start(crds, controllers=controllers, port=port, keep=keep)
    except KeyboardInterrupt:
        typer.echo("interrupted before it was ready", err=True)
        raise typer.Exit(130) from None
    with plane:
        typer.echo(f"API server: {plane.url}")
        typer.echo(f"export KUBECONFIG={shlex.quote(str(plane.kubeconfig))}")
        if not plane.local:
            typer.echo("KUBECONFIG is set already: nothing was started.")
            return
        typer.echo("Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            plane.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)
