"""One suite that holds the embedded Qdrant and a real server to the same answers.

Everything else in `tests/` believes what the embedded server says; this suite is why it may. `recordings/` are
answers of real servers, request by request; the other modules state what Teal relies on and the recordings do
not show. With `QDRANT_URL` set (and `QDRANT_GRPC_PORT`, `QDRANT_API_KEY` where needed) the same tests run against
that server. Where a recording and an opinion disagree, the recording is right.
"""
