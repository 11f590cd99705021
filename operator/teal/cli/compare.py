"""What `teal verify` does: read two collections, run every check, print the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from teal.domain.errors import TerminalError
from teal.domain.observed import CollectionState
from teal.domain.quality import JudgedQuery
from teal.domain.tuning import Tuning, describe_index
from teal.domain.verdict import Check, Verdict, overall
from teal.migration.contract import ReadJudgedQueries
from teal.migration.copying.scratch import Scratch
from teal.migration.verification import judged
from teal.migration.verification.checks import ask_all
from teal.migration.verification.comparison import Comparison, Gates, Side, SideEncoders
from teal.migration.verification.known import listed
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server
from teal.sources.embedder import OpenAIEmbedder

STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.ERROR: "red", Verdict.INCONCLUSIVE: "yellow"}


@dataclass(frozen=True)
class ComparisonRequest:
    """What the command line asks for."""

    blue: str
    green: str
    blue_end: Endpoint
    green_end: Endpoint
    gates: Gates
    sample: int
    encoder: str
    text_field: str | None
    embedder: str | None
    embedder_key: str | None
    model: str | None
    judged: ReadJudgedQueries | None


def golden(file: Path) -> ReadJudgedQueries:
    """The judged queries of a file; the file is read when they are needed."""
    text = file.read_text(encoding="utf-8")

    async def read() -> Sequence[JudgedQuery]:
        return judged.parse({file.name: text}, "--golden")

    return read


async def compare(asked: ComparisonRequest, connect: Callable[[Endpoint], Server] = Server) -> list[Check]:
    """The answer of every check.

    Raises:
        TealError: the two collections cannot be compared at all.
    """
    console = Console(stderr=True)
    async with AsyncExitStack() as stack:
        blue_server = connect(asked.blue_end)
        stack.push_async_callback(blue_server.close)
        green_server = blue_server
        if asked.green_end != asked.blue_end:
            green_server = connect(asked.green_end)
            stack.push_async_callback(green_server.close)
        status = stack.enter_context(console.status("reading both collections"))
        blue = Side(blue_server, await _state(blue_server, asked.blue))
        green = Side(green_server, await _state(green_server, asked.green))
        scratch = Scratch()
        stack.callback(scratch.close)
        known = await listed(
            blue_server,
            blue.state,
            scratch,
            lambda count: status.update(f"listing {blue.name}: {count:,} points"),
        )
        return await ask_all(
            Comparison(
                blue,
                green,
                known,
                same_vectors=_same_encoder(asked.encoder, blue.state, green.state),
                tuning=Tuning({}, _indexes(blue.state)),
                gates=asked.gates,
                sample=asked.sample,
                encoders=await _encoders(asked, blue.state, green.state, stack),
                judged=asked.judged,
                say=status.update,
            )
        )


async def _state(server: Server, name: str) -> CollectionState:
    state = await server.admin.collection(name)
    if state is None:
        raise TerminalError("CollectionNotFound", f"{server.endpoint.url} has no collection {name!r}.")
    return state


def _same_encoder(asked: str, blue: CollectionState, green: CollectionState) -> bool:
    if asked != "auto":
        return asked == "same"
    sizes = {vector.name: vector.size for vector in blue.schema.vectors}
    models = [state.marks.encoder.model if state.marks.encoder else None for state in (blue, green)]
    alike = all(sizes.get(v.name, v.size) == v.size for v in green.schema.vectors)
    return alike and (None in models or models[0] == models[1])


def _indexes(blue: CollectionState) -> dict[str, Any]:
    return {name: shown for name, found in blue.payload_schema.items() if (shown := describe_index(found))}


async def _encoders(
    asked: ComparisonRequest, blue: CollectionState, green: CollectionState, stack: AsyncExitStack
) -> SideEncoders:
    """Clients of the one given embedder, for the models that the marks of the collections or `--model` name."""

    async def client(state: CollectionState, model: str | None) -> OpenAIEmbedder | None:
        main, told = state.schema.main, state.marks.encoder
        name = model or (told.model if told else None)
        if asked.embedder is None or main is None or name is None:
            return None

        async def key() -> str | None:
            return asked.embedder_key

        return await stack.enter_async_context(OpenAIEmbedder(asked.embedder, name, main.size, api_key=key))

    on_green = await client(green, asked.model)
    if asked.judged and on_green is None:
        raise TerminalError(
            "ModelUnknown", f"{green.name} does not say which model made its vectors: give --model."
        )
    alike = _same_encoder(asked.encoder, blue, green)
    return SideEncoders(await client(blue, asked.model if alike else None), on_green, asked.text_field)


def show(asked: ComparisonRequest, checks: Sequence[Check], output: str) -> None:
    """Print a table, or JSON."""
    console, verdict = Console(soft_wrap=output == "json"), overall(checks)
    if output == "json":
        rows = [check.as_json() for check in checks]
        console.print_json(
            json.dumps({"blue": asked.blue, "green": asked.green, "verdict": verdict.value, "checks": rows})
        )
        return
    drawn = Table("CHECK", "VERDICT", "OBSERVED", "NEEDED", "WHAT WAS FOUND", box=None, pad_edge=False)
    for check in checks:
        style = STYLES[check.verdict]
        found = "; ".join([check.message, *([f"such as {', '.join(check.samples)}"] if check.samples else [])])
        drawn.add_row(
            check.name, f"[{style}]{check.verdict}[/{style}]", _number(check.observed), _number(check.threshold),
            escape(found),
        )  # fmt: skip
    console.print(drawn)
    style = STYLES[verdict]
    console.print(f"\n{asked.blue} → {asked.green}: [{style}]{verdict}[/{style}]")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if value < 1000 else f"{value:,.0f}"
