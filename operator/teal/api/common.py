"""The group, its names, and what both kinds have in common."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from teal.api.model import Items, Model
from teal.api.values import DataKey, ObjectName, StatusTime

GROUP = "teal.dev"
VERSION = "v1alpha1"
API_VERSION: Final = "teal.dev/v1alpha1"


class SecretKeyRef(Model):
    """One key of a Secret in the same namespace. Teal reads it when it is needed and keeps no copy."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key in its data."""


class Metadata(Model):
    """The metadata fields that Teal reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: Items[str] = ()
    creation_timestamp: StatusTime | None = None
    deletion_timestamp: StatusTime | None = None


class Report(Model):
    """A part of a status. Unknown fields, written by a newer operator, are ignored."""

    model_config = ConfigDict(extra="ignore")


def _none_if_unreadable(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:
        return None


Readable = WrapValidator(_none_if_unreadable)
"""A status is a report, never Teal's memory: a status that cannot be read counts as none."""


class CustomResource(Model):
    """An object of either kind, parsed from a manifest or from the API server's answer."""

    api_version: Literal["teal.dev/v1alpha1"] = API_VERSION
    kind: str
    metadata: Metadata

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Parse a manifest; `teal.api.manifest` makes its errors readable.

        Only the names of the API server are accepted: `ef_construct` is not a field of a manifest.

        Raises:
            ValidationError: the manifest has an unknown field or breaks a rule.
        """
        return super().model_validate(obj, **{"by_alias": True, "by_name": False, **options})
