"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TITLE = "qdrant - vector search engine"
REPORTED_VERSION = "1.19.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """One server's settings; addresses are always on loopback."""

    data: Path
    rest_port: int
    grpc_port: int
    api_key: str | None = None
    read_only_api_key: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    report_version: str = REPORTED_VERSION
    faults: bool = False
    """Whether `/_faults` is served."""
    peers: int = 1
    """How many peers to show; those after the first answer on 127.0.0.2, 127.0.0.3, ..."""
    peer_lag: float = 0.0
    """Seconds by which the alias lists of the other peers lag behind."""
    max_workers: int = 32
    """How many collections may have a process at the same time; the least recently used ones end."""

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.report_version.split(".")[:3])
