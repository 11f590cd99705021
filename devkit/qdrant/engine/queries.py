"""Reads: from the JSON of scroll, query, count and facet to the engine's requests.

Supported: nearest by vector or by id, fusion (RRF, DBSF), order-by, random sample, the formula that is a constant,
and prefetches of these. The other kinds of query get 501.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from devkit.qdrant.errors import invalid, unserved

from .filters import read_filter

Json = dict[str, Any]
VectorOf = Callable[[Any, str], Any]
"""The stored vector of a point, by id and vector name; raises when there is none."""

DEFAULT_LIMIT = 10


def with_payload(given: Any, *, default: bool) -> Any:
    """The engine's payload selector; `default` where the request says nothing."""
    if given is None:
        return default
    if isinstance(given, dict):
        if "include" in given:
            return edge.PayloadSelector.Include(given["include"])
        return edge.PayloadSelector.Exclude(given["exclude"])
    return given


def with_vector(given: Any) -> Any:
    return False if given is None else given


def vector(given: Any) -> Any:
    """A vector of the REST interface: numbers, lists of numbers, or `{indices, values}`.

    Qdrant takes two lists of which the first has whole numbers only for a sparse vector, even where they were
    meant as a multivector of two rows.
    """
    if isinstance(given, dict):
        if given.keys() != {"indices", "values"}:
            raise unserved("inference (a vector given as text, image or object)")
        return sparse_vector(given["indices"], given["values"])
    if _is_pair_of_lists(given) and all(type(number) is int and number >= 0 for number in given[0]):
        return sparse_vector(*given)
    return given


def _is_pair_of_lists(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 2 and all(isinstance(row, list) for row in given)


def sparse_vector(indices: list[int], values: list[float]) -> edge.SparseVector:
    """A sparse vector; the engine crashes on one whose lists do not match."""
    if len(indices) != len(values):
        raise invalid("values", "must be the same length as indices")
    if len(set(indices)) != len(indices):
        raise invalid("indices", "must be unique")
    return edge.SparseVector(indices, values)


def scroll_request(given: Json, condition: edge.Filter | None = None) -> edge.ScrollRequest:
    """`condition` takes the place of `given["filter"]` where it was read already."""
    order = given.get("order_by")
    return edge.ScrollRequest(
        offset=given.get("offset"),
        limit=_limit(given),
        filter=condition or read_filter(given.get("filter")),
        with_payload=with_payload(given.get("with_payload"), default=True),
        with_vector=with_vector(given.get("with_vector")),
        order_by=_order_by(order) if order is not None else None,
    )


def count_request(given: Json) -> edge.CountRequest:
    return edge.CountRequest(given.get("exact") is not False, read_filter(given.get("filter")))


def facet_request(given: Json) -> edge.FacetRequest:
    exact = bool(given.get("exact"))
    return edge.FacetRequest(given["key"], _limit(given), exact, read_filter(given.get("filter")))


def query_request(given: Json, vector_of: VectorOf, condition: edge.Filter | None = None) -> edge.QueryRequest:
    """`condition` takes the place of `given["filter"]` where it was read already."""
    if given.get("lookup_from"):
        raise unserved("`lookup_from` in a query")
    return edge.QueryRequest(
        limit=_limit(given),
        offset=given.get("offset"),
        query=_query(given, vector_of),
        prefetches=_prefetches(given, vector_of),
        with_vector=with_vector(given.get("with_vector")),
        with_payload=with_payload(given.get("with_payload"), default=False),
        filter=_without_itself(given, condition or read_filter(given.get("filter"))),
        score_threshold=given.get("score_threshold"),
        params=search_params(given.get("params")),
    )


def _limit(given: Json) -> int:
    limit = given.get("limit")
    return DEFAULT_LIMIT if limit is None else int(limit)


def _prefetches(given: Json, vector_of: VectorOf) -> list[edge.Prefetch]:
    prefetch = given.get("prefetch") or []
    return [_prefetch(each, vector_of) for each in (prefetch if isinstance(prefetch, list) else [prefetch])]


def _prefetch(given: Json, vector_of: VectorOf) -> edge.Prefetch:
    return edge.Prefetch(
        limit=_limit(given),
        query=_query(given, vector_of),
        prefetches=_prefetches(given, vector_of),
        params=search_params(given.get("params")),
        filter=_without_itself(given, _filter(given)),
        score_threshold=given.get("score_threshold"),
    )


def _filter(given: Json) -> edge.Filter | None:
    """The filter, which was read already where thousands of ids came over gRPC."""
    found = given.get("filter")
    return found if isinstance(found, edge.Filter) else read_filter(found)


def _query(given: Json, vector_of: VectorOf) -> Any:
    query, using = given.get("query"), given.get("using") or ""
    if query is None:
        return None
    if isinstance(query, dict) and "indices" not in query:
        return _composed(query, using, vector_of)
    return _nearest(query, using, vector_of)


def _composed(query: Json, using: str, vector_of: VectorOf) -> Any:
    if "nearest" in query:
        if query.get("mmr"):
            raise unserved("queries with `mmr`")
        return _nearest(query["nearest"], using, vector_of)
    if "order_by" in query:
        return _order_by(query["order_by"])
    if "sample" in query:
        return edge.Sample.Random
    if "rrf" in query:
        return edge.Fusion.Rrf(query["rrf"].get("k") or 2, query["rrf"].get("weights"))
    if "fusion" in query:
        return edge.Fusion.Rrf(2) if query["fusion"] == "rrf" else edge.Fusion.Dbsf()
    if "formula" in query:
        return _constant(query["formula"])
    raise unserved(f"queries by `{min(query, default='')}`")


def _constant(formula: Any) -> edge.Formula:
    """The formula that gives every prefetched point the same score, by which the versions of all are read."""
    if isinstance(formula, bool) or not isinstance(formula, int | float):
        raise unserved("formulas other than a constant")
    return edge.Formula(edge.Expression.Constant(float(formula)))


def _nearest(given: Any, using: str, vector_of: VectorOf) -> Any:
    found = vector_of(given, using) if isinstance(given, int | str) else vector(given)
    return edge.Query.Nearest(found, using=using)


def _without_itself(given: Json, condition: edge.Filter | None) -> edge.Filter | None:
    """If a point is the query, it is not among its own neighbours."""
    query = given.get("query")
    target = query.get("nearest") if isinstance(query, dict) else query
    if not isinstance(target, int | str):
        return condition
    return edge.Filter(must=[condition] if condition else None, must_not=[edge.HasIdCondition({target})])


def _order_by(given: Any) -> edge.OrderBy:
    if isinstance(given, str):
        return edge.OrderBy(given)
    descending = given.get("direction") == "desc"
    direction = edge.Direction.Desc if descending else edge.Direction.Asc
    return edge.OrderBy(given["key"], direction, given.get("start_from"))


def search_params(given: Json | None) -> edge.SearchParams | None:
    if not given:
        return None
    quantization, acorn = given.get("quantization"), given.get("acorn")
    if given.get("idf"):
        raise unserved("`params.idf` in a query")
    return edge.SearchParams(
        hnsw_ef=given.get("hnsw_ef"),
        exact=bool(given.get("exact")),
        indexed_only=bool(given.get("indexed_only")),
        quantization=edge.QuantizationSearchParams(
            ignore=bool(quantization.get("ignore")),
            rescore=quantization.get("rescore"),
            oversampling=quantization.get("oversampling"),
        )
        if quantization
        else None,
        acorn=edge.AcornSearchParams(bool(acorn.get("enable")), acorn.get("max_selectivity")) if acorn else None,
    )
