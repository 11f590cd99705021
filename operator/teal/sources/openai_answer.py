"""Parses the answer of `POST /v1/embeddings` and validates all of it.

The result is one finite vector of the right size for each text, in the order of the texts: only `index` counts,
not the order of the `data` list. Positions in errors count from the first text of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from teal.sources.errors import BadVectorError, EmbedderUnavailableError, NonsenseAnswerError, WrongDimensionsError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """Vectors in the order of the texts, each of shape (dimensions,); `tokens` as reported, None if not
    reported.
    """

    vectors: list[Floats]
    tokens: int | None


def read(body: bytes, count: int, dimensions: int | None = None) -> Answer:
    """The vectors for `count` texts, of `dimensions` (None: of any size, but all of the same).

    Raises:
        EmbedderUnavailableError: it is not JSON: another server answered, such as a proxy while it starts.
        NonsenseAnswerError: it is JSON, but not an answer to the request.
        WrongDimensionsError, BadVectorError: a vector in it is not valid.
    """
    try:
        document = from_json(body, allow_inf_nan=True)
    except ValueError as error:
        raise EmbedderUnavailableError(
            "What answers at the embedder's URL is not JSON: a proxy's page perhaps, or not an embedder."
        ) from error
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise NonsenseAnswerError("The embedder's answer has no list `data`: is the URL an OpenAI-compatible API?")
    if len(data) != count:
        raise NonsenseAnswerError(f"The embedder answered {len(data)} vectors for {count} texts.")
    vectors = [_vector(index, item.get("embedding")) for index, item in enumerate(_in_order(data))]
    expected = dimensions or len(vectors[0])
    for index, vector in enumerate(vectors):
        if len(vector) != expected:
            raise WrongDimensionsError(index, expected, len(vector))
        if not np.isfinite(vector).all():
            raise BadVectorError(index, "with a NaN or an infinite number")
    return Answer(vectors, _tokens(document))


def _in_order(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if all(item.get("index") is None for item in data):
        return data
    indexes = [index for item in data if isinstance(index := item.get("index"), int)]
    if sorted(indexes) != list(range(len(data))):
        raise NonsenseAnswerError(
            f"The embedder's answer does not number its vectors from 0 to {len(data) - 1}, each once."
        )
    return sorted(data, key=lambda item: int(item["index"]))


def _vector(index: int, embedding: object) -> Floats:
    if not isinstance(embedding, list) or not embedding:
        raise BadVectorError(index, "that is not a list of numbers")
    try:
        # A number too large for float32 becomes infinite, and is refused as that.
        with np.errstate(over="ignore"):
            vector = np.array(embedding, np.float32)
    except (TypeError, ValueError) as error:
        raise BadVectorError(index, "that is not a list of numbers") from error
    if vector.ndim != 1:
        raise BadVectorError(index, "that is not a list of numbers")
    return vector


def _tokens(document: dict[str, Any]) -> int | None:
    usage = document.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens > 0 else None
