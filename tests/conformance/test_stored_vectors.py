"""What is written as `as_stored` makes it comes back with the very same bytes.

The digest of what was written then is the digest of what is read, and a difference means that somebody wrote.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from teal.domain.content_digest import Floats, as_stored
from teal.domain.schema import Datatype, Distance
from tests.conformance.client import Rest

POINTS, SIZE = 200, 96


def answered(rest: Rest, name: str, vectors: Floats) -> Floats:
    """What the collection answers after these were written to it."""
    rows = [{"id": number, "vector": row.tolist()} for number, row in enumerate(vectors)]
    rest.ok("PUT", f"/collections/{name}/points?wait=true", {"points": rows})
    found = rest.ok("POST", f"/collections/{name}/points/scroll", {"limit": len(rows), "with_vector": True})
    return np.array([point["vector"] for point in found["points"]], np.float32)


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("datatype", list(Datatype))
def test_it_comes_back_unchanged(
    rest: Rest, new_collection: Callable[..., str], distance: Distance, datatype: Datatype
) -> None:
    rng = np.random.default_rng(7)
    lengths = np.exp(rng.normal(0, 3, (POINTS, 1)))
    vectors = (rng.standard_normal((POINTS, SIZE)) * lengths).astype(np.float32)
    params = {"size": SIZE, "distance": distance.value, "datatype": datatype.value.lower()}
    written = as_stored(vectors, distance, datatype)
    read = answered(rest, new_collection(vectors=params), written)
    assert read.tobytes() == written.tobytes()
