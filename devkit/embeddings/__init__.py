"""Real encoders behind a real embedding server: what the demo's collections are embedded with."""

from devkit.embeddings.models import HASHING, MINILM
from devkit.embeddings.process import Calls, EmbeddingServer

__all__ = ["HASHING", "MINILM", "Calls", "EmbeddingServer"]
