"""Pydantic models as structural OpenAPI schemas, the only kind that a CRD may contain.

A structural schema describes each value in one place: no references, no unions, no titles, no null. Teal
overrides Pydantic's generator where it would write more, and replaces the references at the end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from teal.api.values import format_duration

INT32_MAX = 2**31 - 1
REFERENCE = "#/$defs/"


class _Generator(GenerateJsonSchema):
    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        fits = schema.get("le", INT32_MAX + 1) <= INT32_MAX
        return {**super().int_schema(schema), "format": "int32" if fits else "int64"}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {**super().float_schema(schema), "format": "double"}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a manifest of `model`, with descriptions, defaults and CEL rules."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(schema, definitions)
    return inlined


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """`schema` with its references replaced by what they refer to, and what a CRD cannot hold left out."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        definition = definitions[schema["$ref"].removeprefix(REFERENCE)]
        return _inlined({**definition, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    kept = {key: _value(key, value, definitions) for key, value in schema.items() if _belongs(key, value)}
    return kept | _exclusive(schema) | _described(kept)


def _value(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "properties":
        return {name: _inlined(each, definitions) for name, each in value.items()}
    return _inlined(value, definitions) if key == "items" else value


def _described(schema: dict[str, Any]) -> dict[str, str]:
    """The description in one line, with the default, because `kubectl explain` does not show defaults."""
    if "description" not in schema:
        return {}
    text, default = " ".join(schema["description"].split()), schema.get("default", {})
    return {"description": text if default == {} else f"{text} Default: {_in_yaml(default)}."}


def _in_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _belongs(key: str, value: Any) -> bool:
    """Whether a keyword may be in a CRD. Defaults of null and of an empty list are left out."""
    if key == "default":
        return value is not None and value != []
    return key not in {"title", "additionalProperties", "exclusiveMinimum"}


def _exclusive(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0 has the bound in `minimum`, and a separate keyword says that it is exclusive."""
    if "exclusiveMinimum" not in schema:
        return {}
    return {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
