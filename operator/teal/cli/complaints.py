"""An error that a user can fix is one line on standard error; a traceback always means a bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def complaints(command: str, *expected: type[Exception]) -> Iterator[None]:
    """On one of `expected` or an OSError, end `teal COMMAND` with exit status 1 and the message of the error."""
    caught: tuple[type[Exception], ...] = (OSError, *expected)
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the pipe has closed it: typer ends quietly
    except caught as error:
        typer.echo(f"teal {command}: {error}", err=True)
        raise typer.Exit(1) from error
