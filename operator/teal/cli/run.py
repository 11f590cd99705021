"""`teal run`: the operator."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teal.cli.complaints import complaints
from teal.controller.options import ControllerOptions
from teal.runtime.settings import Address, LeaseSettings, Settings

DEFAULTS = ControllerOptions()


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


def _address(text: str | Address) -> Address:
    """The given value, or the parsed default (typer parses defaults, too)."""
    try:
        return text if isinstance(text, Address) else Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def run(
    *,
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", envvar="TEAL_NAMESPACE", help="Serve this namespace; may be repeated."),
    ] = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", envvar="TEAL_ALL_NAMESPACES", help="Serve all namespaces.")
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Default: $KUBECONFIG, the pod's service account, or ~/.kube/config.", dir_okay=False),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    http_address: Annotated[
        Address,
        typer.Option(
            parser=_address,
            metavar="HOST:PORT",
            envvar="TEAL_HTTP_ADDRESS",
            help="Where /livez, /readyz and /metrics are served; port 0: a free one.",
        ),
    ] = Address("127.0.0.1", 8080),  # noqa: B008 - frozen
    log_level: Annotated[LogLevel, typer.Option(envvar="TEAL_LOG_LEVEL")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option(envvar="TEAL_LOG_FORMAT")] = LogFormat.TEXT,
    concurrency: Annotated[
        int, typer.Option(min=1, envvar="TEAL_CONCURRENCY", help="Resources reconciled at the same time.")
    ] = DEFAULTS.concurrency,
    per_qdrant: Annotated[
        int,
        typer.Option(min=1, envvar="TEAL_PER_QDRANT", help="Resources of one Qdrant reconciled at the same time."),
    ] = DEFAULTS.per_endpoint,
    resync: Annotated[
        float, typer.Option(min=1, envvar="TEAL_RESYNC", help="Reconcile every resource after this many seconds.")
    ] = DEFAULTS.resync,
    sweep: Annotated[
        float,
        typer.Option(
            min=1,
            envvar="TEAL_SWEEP",
            help="List resources after this many seconds, to find changes that the watches missed.",
        ),
    ] = DEFAULTS.sweep,
    lease: Annotated[
        bool,
        typer.Option(
            "--lease/--no-lease",
            envvar="TEAL_LEASE",
            help="Work only while holding a Lease. Without one, two operators may work at the same time.",
        ),
    ] = True,
    lease_namespace: Annotated[
        str | None,
        typer.Option(
            envvar="TEAL_LEASE_NAMESPACE",
            help="Namespace of the Lease. Default: the served namespace if there is one, else the connection's.",
        ),
    ] = None,
    lease_name: Annotated[
        str | None,
        typer.Option(
            envvar="TEAL_LEASE_NAME",
            help="Operators that serve the same resources must use the same name. Default: teal-operator, with a "
            "hash of the namespaces if several are served.",
        ),
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, envvar="TEAL_GRACE", help="Seconds for running steps at shutdown.")
    ] = 20.0,
) -> None:
    """Run the operator until SIGTERM or Ctrl-C. Without -n or -A it serves the namespace of its connection.

    It exits with status 75 when it has lost its Lease: start it again.
    """
    if all_namespaces and namespaces:
        raise typer.BadParameter("--namespace and --all-namespaces exclude each other")
    # Here, because kopf and the API server's client take longer to import than other commands take to run.
    from teal.controller.connection import NoClusterError, connect
    from teal.controller.lease import LOST_EXIT_CODE, LeaseLostError
    from teal.runtime import logging as logs
    from teal.runtime import main as operator

    logs.configure(log_level.value, log_format.value)
    with complaints("run", NoClusterError):
        served = [] if all_namespaces else namespaces or [asyncio.run(connect(kubeconfig, context)).namespace]
        options = ControllerOptions(tuple(served), concurrency, per_qdrant, resync, sweep)
        chosen = LeaseSettings(lease, lease_namespace, lease_name)
        settings = Settings(options, http_address, kubeconfig, context, grace=grace, lease=chosen)
        try:
            asyncio.run(operator.run(settings))
        except LeaseLostError as error:
            typer.echo(f"teal run: {error}", err=True)
            raise typer.Exit(LOST_EXIT_CODE) from error
