"""One suite that holds the embedded Qdrant and a real server to the same answers.

Everything else in `tests/` believes what the embedded server says; this suite is why it may. `recordings/` are
answers of real servers, request by request; the other modules state what Teal relies on and the recordings do
not show. Where a recording and an opinion disagree, the recording is right.

    QDRANT_URL, QDRANT_GRPC_PORT, QDRANT_API_KEY     hold this server to it instead of the embedded one
    QDRANT_SNAPSHOTS_PATH (/qdrant/snapshots)        where that server keeps its snapshots
"""
