"""The names of the models, importable without loading any of them. A name tells which encoder, and how large."""

from __future__ import annotations

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
HASHING_PREFIX = "teal/hashing-svd-"
HASHING = f"{HASHING_PREFIX}256"
