"""Indexes of payload fields, with all options of all types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from teal.api.model import CelRule, Items, Model, only_where
from teal.api.values import Distinct, FieldPath

IndexType = Literal["keyword", "integer", "float", "bool", "geo", "datetime", "text", "uuid"]
Tokenizer = Literal["prefix", "whitespace", "word", "multilingual", "code"]
Language = Annotated[str, Field(min_length=1, max_length=32, pattern="^[a-z]+$")]


class Stopwords(Model):
    """Words that a text index leaves out."""

    languages: Items[Language] = Field(default=(), max_length=32)
    """Languages whose common words are left out, such as english."""
    custom: Items[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default=(), max_length=1000)
    """More words to leave out."""


class Stemmer(Model):
    """Reduces words to their stems."""

    type: Literal["snowball"] = "snowball"
    """The algorithm."""
    language: Language
    """The language of the texts, such as english."""


def _option(types: tuple[IndexType, ...], *fields: str) -> CelRule:
    """A rule: `fields` (snake_case) are options of indexes of `types` only."""
    return only_where(
        " || ".join(f"self.type == '{each}'" for each in types),
        *fields,
        message=f"{', '.join(map(to_camel, fields))}: only for an index of type {' or '.join(types)}",
        holds=lambda index: index.type in types,
    )


class PayloadIndex(Model):
    """An index of one field, which makes filters by that field fast. Created and changed in place."""

    field: FieldPath
    """Path of the field in the payload: `tenant`, `meta.source`, `chunks[].id`."""
    type: IndexType
    """Type of the field's values. Values of another type are not indexed."""
    on_disk: bool | None = None
    """Keep the index on disk instead of in memory."""
    enable_hnsw: bool | None = None
    """Build additional HNSW links for the values of this field, if `hnsw.payloadM` allows them; default true."""
    is_tenant: bool | None = None
    """keyword, uuid: the field separates tenants. Points of one tenant are stored together."""
    is_principal: bool | None = None
    """integer, float, datetime: most queries filter by this field. Storage is ordered by it."""
    lookup: bool | None = None
    """integer: support exact matches; default true."""
    range: bool | None = None
    """integer: support ranges; default true."""
    tokenizer: Tokenizer | None = None
    """text: how a text is split into tokens; default word."""
    lowercase: bool | None = None
    """text: ignore case; default true."""
    ascii_folding: bool | None = None
    """text: ignore accents; default false."""
    min_token_len: int | None = Field(default=None, ge=0, le=65536)
    """text: shorter tokens are ignored."""
    max_token_len: int | None = Field(default=None, ge=0, le=65536)
    """text: longer tokens are ignored."""
    phrase_matching: bool | None = None
    """text: support phrases; default false."""
    stopwords: Stopwords | None = None
    """text: words to leave out; default none."""
    stemmer: Stemmer | None = None
    """text: reduce words to stems; default none."""

    tenant_types = _option(("keyword", "uuid"), "is_tenant")
    principal_types = _option(("integer", "float", "datetime"), "is_principal")
    integer_options = _option(("integer",), "lookup", "range")
    text_options = _option(
        ("text",),
        "tokenizer",
        "lowercase",
        "ascii_folding",
        "min_token_len",
        "max_token_len",
        "phrase_matching",
        "stopwords",
        "stemmer",
    )

    @CelRule(
        "!has(self.lookup) || !has(self.range) || self.lookup || self.range",
        "an integer index needs lookup or range",
    )
    def lookup_or_range(self) -> bool:
        return not (self.lookup is False and self.range is False)

    @CelRule(
        "!has(self.minTokenLen) || !has(self.maxTokenLen) || self.minTokenLen <= self.maxTokenLen",
        "minTokenLen must not exceed maxTokenLen",
    )
    def token_lengths(self) -> bool:
        return self.min_token_len is None or self.max_token_len is None or self.min_token_len <= self.max_token_len


PayloadIndexes = Annotated[Items[PayloadIndex], Field(max_length=64), Distinct("field")]
