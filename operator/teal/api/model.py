"""The base class of all models, and rules across fields, each written once and checked in two places.

The command line must refuse what the API server refuses, with the same words: a manifest that passes `teal plan`
in a pipeline must not fail on `kubectl apply`. So a rule is one pair: CEL, which is in the CRD, and Python,
which runs when a manifest is parsed without a cluster. The tests run every rule in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

VALIDATIONS = "x-kubernetes-validations"

T = TypeVar("T")
M = TypeVar("M", bound="Model")

Items = Annotated[tuple[T, ...], Strict(strict=False)]
"""A list in a manifest, a tuple in Python: frozen models must not hold a list that can be changed."""


class CelRule:
    """One rule over the fields of a model; decorates the method that checks it in Python.

    Without a method it is a *transition rule*: its CEL compares `self` with `oldSelf`, and only the API server
    knows the old object.
    """

    def __init__(self, cel: str, message: str) -> None:
        self.cel = cel
        self.message = message
        self.holds: Callable[[Any], bool] | None = None

    def __call__(self, holds: Callable[[Any], bool]) -> Self:
        self.holds = holds
        return self

    @property
    def as_json(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message}


def with_rules(schema: dict[str, Any], *rules: CelRule) -> dict[str, Any]:
    """`schema` with `rules` after its existing ones."""
    if not rules:
        return schema
    return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, ()), *(rule.as_json for rule in rules)]}


class Model(BaseModel):
    """Frozen and strict, camelCase in manifests and snake_case in Python; an unknown field is an error.

    Strict, because the API server is strict: for both, `"384"` is not an integer.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
        ignored_types=(CelRule,),
        protected_namespaces=(),
    )

    @classmethod
    @cache
    def rules(cls) -> tuple[CelRule, ...]:
        """The rules of this model, in the order of the source."""
        classes = reversed(cls.__mro__)
        return tuple(value for each in classes for value in vars(each).values() if isinstance(value, CelRule))

    @model_validator(mode="before")
    @classmethod
    def _null_is_absence(cls, value: Any) -> Any:
        """Drop nulls, as the API server does for fields that are not nullable; no field of Teal is nullable."""
        if isinstance(value, Mapping):
            return {key: item for key, item in value.items() if item is not None}
        return value

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        broken = [rule.message for rule in self.rules() if rule.holds and not rule.holds(self)]
        if broken:
            raise PydanticCustomError("rule", "{broken}", {"broken": "; ".join(broken)})
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.update(with_rules({}, *cls.rules()))
        return schema

    def dump(self) -> dict[str, Any]:
        """This object as a manifest: camelCase, JSON values, without unset fields."""
        dumped: dict[str, Any] = _without_empty_lists(
            self.model_dump(mode="json", by_alias=True, exclude_none=True)
        )
        return dumped


def _without_empty_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty_lists(item) for key, item in value.items() if item != []}
    return [_without_empty_lists(item) for item in value] if isinstance(value, list) else value


def section(model: type[M]) -> M:
    """A field that is always present, with the defaults of its own fields.

    The default in the CRD is the empty object: the API server then fills in the inner defaults, so each default
    is written in one place only.
    """
    field: M = Field(default_factory=model, json_schema_extra={"default": {}})
    return field


def exactly_one(*fields: str) -> CelRule:
    """A rule: exactly one of the optional `fields` (snake_case) is set."""
    return _counted(fields, "==", "set exactly one of")


def at_most_one(*fields: str) -> CelRule:
    """A rule: no two of the optional `fields` (snake_case) are set."""
    return _counted(fields, "<=", "set at most one of")


def only_where(condition: str, *fields: str, message: str, holds: Callable[[Any], bool]) -> CelRule:
    """A rule: the optional `fields` (snake_case) are set only if `condition` (CEL) and `holds` are true."""
    unset = " && ".join(f"!has(self.{to_camel(field)})" for field in fields)
    return CelRule(f"{condition} || ({unset})", message)(lambda model: holds(model) or not present(model, *fields))


def present(model: Model, *fields: str) -> int:
    """How many of the optional `fields` (snake_case) are set; an empty list is not."""
    return sum(getattr(model, field) not in (None, ()) for field in fields)


def _counted(fields: tuple[str, ...], comparison: Literal["==", "<="], words: str) -> CelRule:
    given = ", ".join(f"has(self.{to_camel(field)})" for field in fields)
    cel = f"[{given}].filter(given, given).size() {comparison} 1"
    *others, last = (to_camel(field) for field in fields)
    count = {"==": 1, "<=": 0}[comparison]
    return CelRule(cel, f"{words} {', '.join(others)} and {last}")(
        lambda model: count <= present(model, *fields) <= 1
    )
