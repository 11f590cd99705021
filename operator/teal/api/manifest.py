"""Parses manifests into models, with error messages that name the field.

In `teal plan` and `teal apply` there is no API server that would refuse a typo. A field that is silently ignored
may be the one that would have prevented a migration.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from teal.api.common import API_VERSION
from teal.api.crd import KINDS, object_schema
from teal.api.embedding_set import EmbeddingSet
from teal.api.vector_collection import VectorCollection

MODELS: dict[str, type[EmbeddingSet | VectorCollection]] = {
    "EmbeddingSet": EmbeddingSet,
    "VectorCollection": VectorCollection,
}
SHOWN = 60


class ManifestError(ValueError):
    """A manifest was refused; `problems` has one line for each mistake."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join([f"{name} is not valid:", *(f"  {problem}" for problem in problems)]))
        self.problems = tuple(problems)


def parse(manifest: Any) -> EmbeddingSet | VectorCollection:
    """The object that `manifest` (one YAML document) describes.

    Raises:
        ManifestError: its kind is not one of Teal's, or it is not valid.
    """
    if not isinstance(manifest, Mapping):
        raise ManifestError("the document", ["must be an object with apiVersion, kind, metadata and spec"])
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if kind not in MODELS or version != API_VERSION:
        raise ManifestError(
            f"{version} {kind}", [f"expected apiVersion {API_VERSION} and kind {' or '.join(MODELS)}"]
        )
    try:
        return MODELS[kind].model_validate(manifest)
    except ValidationError as error:
        raise ManifestError(_name_of(manifest), explain(error)) from error


def explain(error: ValidationError) -> list[str]:
    """One line for each mistake: `spec.payloadIndexes[0].type: must be 'keyword', …, got 'keywrd'`."""
    mistakes = error.errors(include_url=False)
    lines = []
    for mistake in mistakes:
        if not _is_echo(mistake, mistakes):
            path, words = _path(mistake["loc"]), _words(mistake, error.title)
            lines.append(f"{path}: {words}" if path else words)
    return lines


def _is_echo(mistake: ErrorDetails, all_mistakes: Sequence[ErrorDetails]) -> bool:
    """Whether a list is too short only because an item in it is invalid."""
    place = mistake["loc"]
    return mistake["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and other is not mistake for other in all_mistakes
    )


def _name_of(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{manifest['kind']} {name}" if name else f"{manifest['kind']} without a name"


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _words(mistake: ErrorDetails, kind: str) -> str:
    match mistake["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a field" + _suggestion(kind, mistake["loc"])
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must be an object"
        case "tuple_type":
            return "must be a list"
        case "rule" | "duplicate" | "duration":
            return mistake["msg"]
    message = mistake["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|String|Tuple|Value|List) should", "must", message)
    return message + _shown(mistake["input"])


def _shown(value: Any) -> str:
    """The refused value, if it is short and helpful."""
    short = isinstance(value, str | int | float) and len(repr(value)) <= SHOWN
    return f", got {value!r}" if short else ""


def _suggestion(kind: str, location: tuple[int | str, ...]) -> str:
    """The known field that is most similar to an unknown one."""
    schema = _schemas().get(kind, {})
    for step in location[:-1]:
        schema = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
    close = difflib.get_close_matches(str(location[-1]), schema.get("properties", ()), n=1)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    return {kind.name: object_schema(kind.model) for kind in KINDS}
