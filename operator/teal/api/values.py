"""The types of single values: names, durations, times, lists without duplicates.

Each checks its value in two places, as `CelRule` does for whole objects: in the CRD (schema keywords, and CEL with
a helpful message) and in Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    Strict,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from teal.api.model import CelRule, with_rules

UNITS = {"h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
MILLISECOND = timedelta(milliseconds=1)
DURATION = r"([0-9]{1,6}(ms|h|m|s)){1,4}"
DURATION_LENGTH = 32


def parse_duration(text: str) -> timedelta:
    """Parse `text`, a duration in Go's notation without fractions: `48h`, `5m30s`, `250ms`.

    Raises:
        ValueError: it is not a duration.
    """
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"{text!r} is not a duration such as 48h, 30m, 5m30s or 250ms")
    parts = re.findall(r"([0-9]+)(ms|h|m|s)", text)
    return sum((int(count) * UNITS.get(unit, MILLISECOND) for count, unit in parts), timedelta())


def format_duration(value: timedelta) -> str:
    """`value` in Go's notation, to the millisecond and with the largest units first; zero is `0s`."""
    rest, parts = value, []
    for unit, size in [*UNITS.items(), ("ms", MILLISECOND)]:
        count, rest = divmod(rest, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


@dataclass(frozen=True)
class GoDuration:
    """A `timedelta` that manifests write in Go's notation, from `shortest` to `longest`."""

    shortest: str = "0s"
    longest: str = "8760h"

    @property
    def _message(self) -> str:
        return f"must be between {self.shortest} and {self.longest}"

    def _parse(self, value: Any) -> timedelta:
        duration = value if isinstance(value, timedelta) else self._parse_text(value)
        if not parse_duration(self.shortest) <= duration <= parse_duration(self.longest):
            raise PydanticCustomError("rule", "{message}", {"message": self._message})
        return duration

    @staticmethod
    def _parse_text(value: Any) -> timedelta:
        if not isinstance(value, str):
            raise PydanticCustomError("duration", "must be a string such as 48h, 30m or 5m30s")
        try:
            return parse_duration(value)
        except ValueError as error:
            raise PydanticCustomError("duration", "{error}", {"error": str(error)}) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._parse,
            serialization=core_schema.plain_serializer_function_ser_schema(format_duration, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        bounds = CelRule(
            f"duration(self) >= duration('{self.shortest}') && duration(self) <= duration('{self.longest}')",
            self._message,
        )
        text = {"type": "string", "pattern": f"^{DURATION}$", "maxLength": DURATION_LENGTH}
        return with_rules(text, bounds)


@dataclass(frozen=True)
class Matches:
    """A string that `pattern` (RE2, not anchored) matches as a whole; `message` describes the pattern."""

    pattern: str
    message: str

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return with_rules(handler(schema), CelRule(f"self.matches(r'^({self.pattern})$')", self.message))


@dataclass(frozen=True)
class Distinct:
    """A list without duplicates: a set, or a map by `key` of its items (the camelCase name).

    With that, server-side apply can merge the items of two field managers.
    """

    key: str | None = None

    def _check(self, items: Sequence[Any]) -> Sequence[Any]:
        keys = [getattr(item, self.key) if self.key else item for item in items]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise PydanticCustomError(
                "duplicate",
                "{key} must be unique: {twice}",
                {"key": self.key or "items", "twice": ", ".join(twice)},
            )
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if self.key is None:
            return {**handler(schema), "x-kubernetes-list-type": "set"}
        keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return {**handler(schema), **keys}


def shortened(length: int) -> BeforeValidator:
    def shorten(value: Any) -> Any:
        return value[: length - 1] + "…" if isinstance(value, str) and len(value) > length else value

    return BeforeValidator(shorten)


def first(count: int) -> BeforeValidator:
    return BeforeValidator(lambda items: tuple(items)[:count])


def rfc3339(moment: datetime, timespec: Literal["seconds", "milliseconds", "microseconds"] = "seconds") -> str:
    """`moment` in UTC, ending in `Z`. Kubernetes needs whole seconds in a Time and microseconds in a MicroTime."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


NAME_CHARACTERS = "may hold letters, digits, '.', '_' and '-', and begins with a letter, a digit or '_'"

# Length limits: Qdrant names a snapshot `<collection>-<peer>-<time>.snapshot`, about 50 characters more than
# the collection, and a file system takes 255. So `<alias>-<schemaVersion>-<hash8>` must stay near 200.
ALIAS_LENGTH = 128
VERSION_LENGTH = 63

NAME = "[A-Za-z0-9_][A-Za-z0-9._-]*"

QdrantName = Annotated[str, Field(min_length=1, max_length=ALIAS_LENGTH), Matches(NAME, NAME_CHARACTERS)]
"""The name of an alias or a vector that Teal creates: safe in Qdrant, in a URL and on a disk."""

VectorName = Annotated[str, Field(max_length=ALIAS_LENGTH), Matches(f"({NAME})?", NAME_CHARACTERS)]
"""The same, or empty for Qdrant's unnamed vector."""

SchemaVersion = Annotated[
    str,
    Field(min_length=1, max_length=VERSION_LENGTH),
    Matches(
        "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
        "may hold letters, digits, '.', '_' and '-', and begins and ends with a letter or a digit",
    ),
]

ForeignName = Annotated[
    str,
    Field(min_length=1, max_length=255),
    Matches(r'[^/\\:*?"<>|\x00-\x1f]+', 'must not hold control characters nor any of / \\ : * ? " < > |'),
]
"""The name of a collection that somebody else created: every name that Qdrant accepts."""

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matches(
        "[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
        "must be the name of an object: lower-case letters, digits, '.' and '-'",
    ),
]
"""The name of an object in the same namespace."""

DataKey = Annotated[
    str, Field(min_length=1, max_length=253), Matches("[A-Za-z0-9._-]+", "must be a key of the Secret's data")
]

HttpUrl = Annotated[
    str,
    Field(max_length=2048),
    Matches(
        r"https?://[^\s/?#@]+(/[^\s?#]*)?",
        "must be an http:// or https:// URL without user, query and fragment; credentials go into a Secret",
    ),
]

FieldPath = Annotated[str, Field(min_length=1, max_length=256)]
"""A field of the payload, as Qdrant writes its path: `text`, `meta.source`, `chunks[].id`."""

ModelName = Annotated[str, Field(min_length=1, max_length=256)]

Identifier = Annotated[str, Field(min_length=1, max_length=256)]
"""A name in another system: a column, a table, a field of a file."""

StatusTime = Annotated[AwareDatetime, Strict(strict=False), PlainSerializer(rfc3339, when_used="json")]
"""A time; RFC 3339 in UTC, to the second."""

Word = Annotated[str, Field(max_length=256), shortened(256)]
"""A name or an id in a status. Cut if it is too long, because the API server would refuse the whole status."""

Sentence = Annotated[str, Field(max_length=1024), shortened(1024)]
"""Text in a status, cut if it is too long."""


def at_most(count: int) -> tuple[Any, BeforeValidator]:
    """Constraints of a list in a status: only the first `count` items are kept."""
    return Field(max_length=count), first(count)
