"""What one process of clients does: how many readers and writers, how fast, with which texts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from devkit.corpus import Entry


class Workload(BaseModel):
    """Rates are per client, and upper limits: a client sends its next request after the answer to the last one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="Qdrant's REST URL.")
    alias: str = Field(description="The only name that clients use.")
    api_key: str | None = None
    entries: tuple[Entry, ...] = Field(min_length=1, description="Texts to search for and to write.")
    readers: int = Field(default=2, ge=0)
    writers: int = Field(default=2, ge=0)
    reads_per_second: float = Field(default=20.0, gt=0)
    writes_per_second: float = Field(default=20.0, gt=0)
    limit: int = Field(default=10, ge=1, description="Points that a search asks for.")
    patience: float = Field(default=30.0, gt=0, description="Seconds that a writer goes on trying one write.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds that a request may take.")
    seed: int = 0
