"""`teal verify BLUE GREEN`: the comparison before every cut-over, for any two collections. Read-only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from teal.cli.options import Output
from teal.domain.errors import TealError
from teal.domain.verdict import Verdict, overall
from teal.qdrant.endpoint import GRPC_PORT, Endpoint

PASSED, FAILED, UNDECIDED = 0, 1, 2

Encoder = Literal["auto", "same", "other"]


def verify(
    blue: Annotated[str, typer.Argument(help="The collection that is right.")],
    green: Annotated[str, typer.Argument(help="The collection that is compared with it.")],
    url: Annotated[str, typer.Option(help="Blue's Qdrant.", envvar="QDRANT_URL")] = "http://localhost:6333",
    grpc_port: Annotated[int, typer.Option(envvar="QDRANT_GRPC_PORT")] = GRPC_PORT,
    api_key: Annotated[str | None, typer.Option(envvar="QDRANT_API_KEY", show_envvar=True)] = None,
    green_url: Annotated[str | None, typer.Option(help="Green's Qdrant. Default: blue's.")] = None,
    green_grpc_port: Annotated[int, typer.Option(help="Of --green-url.")] = GRPC_PORT,
    green_api_key: Annotated[
        str | None, typer.Option(envvar="QDRANT_GREEN_API_KEY", help="Of --green-url.")
    ] = None,
    encoder: Annotated[
        Encoder,
        typer.Option(
            help="Whether one encoder made both. auto: yes, if dimensions and known models are the same."
        ),
    ] = "auto",
    sample: Annotated[int, typer.Option(min=0, help="Points that are compared whole, vectors included.")] = 1000,
    coverage: Annotated[
        float, typer.Option(min=0, max=1, help="Share of blue's points that green must have.")
    ] = 1.0,
    overlap: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of equal search results. Default: 0.95 if comparable."),
    ] = None,
    latency: Annotated[
        float | None, typer.Option(min=1, help="Green's search latency as a multiple of blue's. Default: 2.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="YAML or JSON: lists of {query, relevant, k}; relevant has ids."
        ),
    ] = None,
    recall: Annotated[float, typer.Option(min=0, max=1, help="Recall that --golden must reach.")] = 0.9,
    embedder: Annotated[
        str | None, typer.Option(help="Embeds the queries of --golden: the base URL of an OpenAI-like API.")
    ] = None,
    embedder_key: Annotated[str | None, typer.Option(envvar="EMBEDDER_API_KEY")] = None,
    model: Annotated[
        str | None, typer.Option(help="Green's encoder at --embedder. Default: what the collection says.")
    ] = None,
    text_field: Annotated[
        str | None,
        typer.Option(help="Payload field with the text, to see whether --embedder made blue's vectors."),
    ] = None,
    output: Output = "text",
) -> None:
    """Compare two collections, on one server or on two, as Teal does before a cut-over. Read-only.

    Points that are written to BLUE during the comparison are left out. Exit status: 0 passed, 1 failed, 2
    neither: a check could not be run, or a check that an option asks for has no answer.
    """
    # Here, because what compares takes longer to import than other commands take to run.
    from teal.cli import compare
    from teal.migration.verification.comparison import Gates

    if golden and not embedder:
        raise typer.BadParameter("--golden needs --embedder, to make vectors of its queries")
    here = Endpoint(url, grpc_port, api_key)
    asked = compare.ComparisonRequest(
        blue,
        green,
        here,
        Endpoint(green_url, green_grpc_port, green_api_key) if green_url else here,
        Gates(coverage, overlap, recall if golden else None, latency),
        sample,
        encoder,
        text_field,
        embedder,
        embedder_key,
        model,
        compare.golden(golden) if golden else None,
    )
    try:
        checks = asyncio.run(compare.compare(asked))
    except TealError as error:
        typer.echo(f"teal verify: {error.message}", err=True)
        raise typer.Exit(UNDECIDED) from error
    compare.show(asked, checks, output)
    raise typer.Exit({Verdict.PASSED: PASSED, Verdict.FAILED: FAILED}.get(overall(checks), UNDECIDED))
