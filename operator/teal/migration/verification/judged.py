"""Golden queries: does green find the points that are known to be relevant?

Another encoder may rank points differently and be better, so overlap with blue decides nothing then; judged
queries do. Recall decides. nDCG, which also depends on the order, and blue's figures are informational.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from teal.domain import quality
from teal.domain.errors import TealError, TerminalError
from teal.domain.quality import JudgedQuery
from teal.domain.verdict import Check, Verdict
from teal.migration.verification.comparison import Comparison, Side, pages
from teal.qdrant import wire
from teal.sources.embedder import Embedder

K = 10
MOST = 10_000


class _Query(BaseModel):
    """One entry of the list. `k` is 10, or as many as there are relevant ids if they are more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: Annotated[str, StringConstraints(min_length=1)]
    relevant: Annotated[list[int | str], Field(min_length=1, max_length=1000)]
    k: Annotated[int, Field(ge=1, le=1000)] | None = None

    def as_judged(self) -> JudgedQuery:
        """With ids as Qdrant writes them.

        Raises:
            ValueError: an id is neither a number nor a UUID.
        """
        ids = tuple(dict.fromkeys(wire.plain_id(wire.raw_id(each)) for each in self.relevant))
        return JudgedQuery(self.query, ids, self.k or max(K, len(ids)))


_LIST = TypeAdapter(Annotated[list[_Query], Field(max_length=MOST)])


def parse(texts: Mapping[str, str], where: str) -> list[JudgedQuery]:
    """The queries in all of `texts` (name → YAML or JSON: a list of `{query, relevant: [id, ...], k}`).

    Raises:
        TerminalError: reason `BadGoldenQueries`; the message says in which text and what is wrong.
    """
    found: list[JudgedQuery] = []
    for name, text in sorted(texts.items()):
        try:
            found += [each.as_judged() for each in _LIST.validate_python(yaml.safe_load(text) or [])]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise _bad(where, name, f"{place}: {first['msg']}") from error
        except (yaml.YAMLError, ValueError) as error:
            raise _bad(where, name, str(error)) from error
    return found


def _bad(where: str, name: str, problem: str) -> TerminalError:
    return TerminalError(
        "BadGoldenQueries",
        f"{where}, {name}: {problem}. It must be a list like [{{query: how to …, relevant: [17, 42]}}].",
    )


async def recall(comparison: Comparison) -> list[Check]:
    """`Recall`, the gate, and `NDCG`; none where no judged queries are given."""
    if comparison.judged is None:
        return []
    threshold = comparison.gates.min_recall
    gate = threshold is not None
    try:
        queries = await comparison.judged()
    except TealError as error:
        return [Check("Recall", Verdict.ERROR, error.message, threshold=threshold, gate=gate)]
    vector = comparison.green.state.schema.main
    if comparison.encoders.green is None or vector is None:
        why = "there is no embedder for green that could embed the judged queries"
        # A copy has the same encoder as blue, so the other checks suffice.
        return [Check("Recall", Verdict.INCONCLUSIVE, why, threshold=threshold, gate=not comparison.same_vectors)]
    known = await _known(comparison, queries)
    if not known:
        why = f"none of {len(queries)} judged queries names a point that exists"
        return [Check("Recall", Verdict.INCONCLUSIVE, why, threshold=threshold, gate=gate)]
    green = await _Figures.of(comparison, comparison.green, comparison.encoders.green, known)
    blue = await _on_blue(comparison, known)
    return _checks(green, blue, threshold, stale=len(queries) - len(known))


class _Figures:
    """Recall and nDCG of one side, query by query."""

    def __init__(self) -> None:
        self.recall: dict[str, float] = {}
        self.ndcg: dict[str, float] = {}

    @classmethod
    async def of(
        cls, comparison: Comparison, side: Side, encoder: Embedder, queries: Sequence[JudgedQuery]
    ) -> _Figures:
        """Search `side` for all queries by its main vector."""
        figures, main = cls(), side.state.schema.main
        name = main.name if main else ""
        for page in pages(queries, 32):
            rows = (await encoder.embed([each.text for each in page])).vectors
            for each, row in zip(page, rows, strict=True):
                hits = await side.points.query(side.name, row, each.k, name=name)
                found = [wire.plain_id(hit.id) for hit in hits]
                figures.recall[each.text] = quality.recall(found, each.relevant, each.k)
                figures.ndcg[each.text] = quality.ndcg(found, each.relevant, each.k)
            comparison.say(f"asking {side.name} judged queries: {len(figures.recall):,} of {len(queries):,}")
        return figures


async def _known(comparison: Comparison, queries: Sequence[JudgedQuery]) -> list[JudgedQuery]:
    """The queries with those of their relevant ids that still exist on blue; queries without any are left out."""
    held = await comparison.known.held([wire.raw_id(each) for query in queries for each in query.relevant])

    def there(ids: Sequence[int | str]) -> tuple[int | str, ...]:
        return tuple(each for each in ids if wire.raw_id(each) in held)

    found = [JudgedQuery(each.text, there(each.relevant), each.k) for each in queries]
    return [each for each in found if each.relevant]


async def _on_blue(comparison: Comparison, queries: Sequence[JudgedQuery]) -> _Figures | str:
    """Blue's figures, or why there are none."""
    encoder = comparison.encoders.blue
    if encoder is None or comparison.blue.state.schema.main is None:
        return "blue's encoder cannot be called"
    try:
        return await _Figures.of(comparison, comparison.blue, encoder, queries)
    except TealError as error:
        return f"blue's encoder does not answer: {error.message}"


def _checks(green: _Figures, blue: _Figures | str, threshold: float | None, stale: int) -> list[Check]:
    found = quality.mean(list(green.recall.values()))
    gain = quality.mean(list(green.ndcg.values()))
    left_out = f"; {stale} queries left out, their relevant points are gone" if stale else ""
    beside = blue if isinstance(blue, str) else f"{quality.mean(list(blue.recall.values())):.3f} on blue"
    gain_beside = blue if isinstance(blue, str) else f"{quality.mean(list(blue.ndcg.values())):.3f} on blue"
    enough = threshold is None or found >= threshold
    worst = sorted((text for text, value in green.recall.items() if value < 1.0), key=green.recall.__getitem__)
    return [
        Check(
            "Recall",
            Verdict.PASSED if enough else Verdict.FAILED,
            f"{len(green.recall)} judged queries find {found:.3f} of the relevant points ({beside}){left_out}",
            found,
            threshold,
            tuple(text[:100] for text in worst[:10]) if not enough else (),
            gate=threshold is not None,
        ),
        Check("NDCG", Verdict.PASSED, f"nDCG {gain:.3f} ({gain_beside}); informational, no threshold", gain),
    ]
