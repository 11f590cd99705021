"""What a user can do something about is said on standard error in a line; a traceback always means a bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def complaints(command: str, *expected: type[Exception]) -> Iterator[None]:
    """End `teal COMMAND` with exit status 1 and the error's own words when one of `expected` or OSError comes."""
    caught: tuple[type[Exception], ...] = (OSError, *expected)
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads our output has seen enough: typer ends quietly
    except caught as error:
        typer.echo(f"teal {command}: {error}", err=True)
        raise typer.Exit(1) from error
