"""The embedded Qdrant: Qdrant's own engine behind the REST and gRPC calls that Teal makes.

With it the demo and the tests use the real engine (its filters, versions, indexes and files) wherever Python
runs. Two rules: it gives the answers of a recorded real server, which the conformance tests check; and it
refuses calls that it does not implement with 501 or UNIMPLEMENTED, so that no test can pass on a success that
did not happen.

    front/    one process: ports, names, configurations; bodies pass through undecoded
    engine/   one process for each collection, because the engine holds the interpreter lock while it works
"""

from .embedded import EmbeddedQdrant

__all__ = ["EmbeddedQdrant"]
