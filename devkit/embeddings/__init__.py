"""Real encoders behind a real embedding server: they make the vectors of the demo's collections."""

from devkit.embeddings.models import HASHING, MINILM
from devkit.embeddings.process import Calls, EmbeddingServer

__all__ = ["HASHING", "MINILM", "Calls", "EmbeddingServer"]
