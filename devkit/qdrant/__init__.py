"""The embedded Qdrant: Qdrant's own engine behind the REST and gRPC calls that Teal makes.

It exists so that the demo and the tests run on the real engine (its filters, versions, indexes and files)
wherever Python runs. Two invariants keep it honest: what it answers is what a recorded real server answers,
held to that by the conformance tests; and what it does not serve it refuses with 501 or UNIMPLEMENTED, so
that no test can pass on a made-up success.

    front/    one process: ports, names, configurations; bodies pass through undecoded
    engine/   one process for each collection, because the engine holds the interpreter while it works
"""

from .embedded import EmbeddedQdrant

__all__ = ["EmbeddedQdrant"]
