"""The calls that the front makes on a worker, by name.

They are separate from the worker's own table because the front must not load the engine. The front is ready in
half a second, while the engine loads in the process that workers are forked from.
"""

READS = frozenset({"retrieve", "point", "scroll", "query", "query_batch", "count", "facet"})
POINT_WRITES = frozenset(
    {
        "upsert",
        "delete",
        "set_payload",
        "overwrite_payload",
        "delete_payload",
        "clear_payload",
        "update_vectors",
        "delete_vectors",
    }
)
SCHEMA_WRITES = frozenset({"create_index", "delete_index", "create_vector", "delete_vector"})
WRITES = POINT_WRITES | SCHEMA_WRITES
"""The calls that change the shard: a copy must repeat them to catch up."""
