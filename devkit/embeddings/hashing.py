"""A second real encoder, of any dimension: hashed words and character n-grams, reduced by an SVD.

It knows only the corpus that it is fitted on, but finds texts by words that occur together, and costs
microseconds. The fit is stored in the devkit's data folder under a key of everything that it depends on. So an
encoder stays the same: the second run of a demo must be able to search what the first one stored.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import FeatureUnion

from devkit import corpus, paths
from devkit.embeddings.models import HASHING_PREFIX

Floats = NDArray[np.float32]

FEATURES = 2**13


class HashingSVD:
    """The encoder `teal/hashing-svd-<dimensions>`: texts in, unit vectors out. Threads may share it."""

    def __init__(self, dimensions: int) -> None:
        if not 2 <= dimensions <= 1024:
            raise ValueError(f"{HASHING_PREFIX}<dimensions> takes 2 to 1024 dimensions, not {dimensions}")
        self.name = f"{HASHING_PREFIX}{dimensions}"
        self.dimensions = dimensions
        self._hashing = _hashing()
        file = _file(dimensions)
        if not file.exists():
            _fit(dimensions, file)
        with np.load(file) as fitted:
            self._idf: Floats = fitted["idf"]
            self._projection: Floats = fitted["projection"]

    def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """Unit vectors of shape (len(texts), dimensions), and the words read."""
        counts = self._hashing.transform(texts)
        vectors: Floats = np.asarray((counts.multiply(self._idf)).tocsr() @ self._projection, np.float32)
        # A text without any known feature would be the zero vector, which has no direction.
        vectors[:, 0] += 1e-6
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), sum(len(text.split()) for text in texts)


def _hashing() -> Any:
    options: dict[str, Any] = {"n_features": FEATURES, "norm": "l2", "alternate_sign": False, "dtype": np.float32}
    words = HashingVectorizer(ngram_range=(1, 2), stop_words="english", **options)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **options)
    return FeatureUnion([("words", words), ("characters", characters)], transformer_weights={"characters": 0.5})


def _file(dimensions: int) -> Path:
    # The interpreter's build stands for its standard library: reading that takes seconds, at every start.
    versions = f"{sys.version} {np.__version__} {sklearn.__version__} {FEATURES}"
    folder = paths.home() / "encoders"
    folder.mkdir(exist_ok=True)
    return folder / f"hashing-svd-{dimensions}-{hashlib.sha256(versions.encode()).hexdigest()[:12]}.npz"


def _fit(dimensions: int, file: Path) -> None:
    counts = _hashing().transform([entry.text for entry in corpus.stdlib()])
    idf = TfidfTransformer(norm=None).fit(counts).idf_.astype(np.float32)
    svd = TruncatedSVD(dimensions, random_state=0).fit(counts.multiply(idf).tocsr())
    partial = file.with_suffix(f".{os.getpid()}.partial.npz")
    np.savez(partial, idf=idf, projection=np.ascontiguousarray(svd.components_.T, np.float32))
    partial.replace(file)
