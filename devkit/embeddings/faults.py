"""Failures of an embedding server on demand, so that tests can show that Teal survives them.

A fault says how (`kind`), for which requests (`agent`, `containing`), when (`skip` matching requests first) and
how often (`times`). Faults are tried in order; at most one applies to a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Kind = Literal[
    "bad-key",  # 401, as if the key had been revoked
    "disconnect",  # the connection ends without an answer
    "error",  # `status`, default 500
    "hang",  # right, but only after `seconds`
    "nan",  # one vector holds a NaN
    "not-json",  # 200 with a page of HTML
    "rate-limit",  # 429, Retry-After: `seconds`
    "shuffled",  # right, but in reverse order: only `index` tells which is which
    "wrong-count",  # one vector is missing
    "wrong-dimension",  # one vector is a number short
]


class Fault(BaseModel):
    """One fault. Vectors are spoilt for the first text that contains `containing`, else for the first one."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    times: int | None = Field(default=1, ge=1, description="How many requests it hits; null: all from now on.")
    skip: int = Field(default=0, ge=0, description="How many matching requests pass before it begins.")
    containing: str | None = Field(default=None, description="Only requests with a text that contains this.")
    agent: str | None = Field(default=None, description="Only requests of this User-Agent (its first word).")
    seconds: float = Field(default=1.0, ge=0, description="Of Retry-After, or how long a hang takes.")
    status: int = Field(default=500, ge=400, le=599, description="Of an error.")

    def spoilt(self, texts: Sequence[str]) -> int:
        """The position of the text whose vector is spoilt."""
        return next((at for at, text in enumerate(texts) if self.containing and self.containing in text), 0)

    def concerns(self, agent: str, texts: Sequence[str]) -> bool:
        return self.agent in (None, agent) and (
            self.containing is None or any(self.containing in text for text in texts)
        )


class Faults:
    """The faults that are still active."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def replace(self, body: str | bytes) -> None:
        """Take a JSON list of faults for all earlier ones; raises ValidationError when it is not one."""
        self.pending = TypeAdapter(list[Fault]).validate_json(body)

    def take(self, agent: str, texts: Sequence[str]) -> Fault | None:
        """The fault that this request meets, if any, counted off."""
        for fault in self.pending:
            if not fault.concerns(agent, texts):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self.pending.remove(fault)
            return fault
        return None
