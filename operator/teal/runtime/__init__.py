"""kopf handlers, settings, HTTP, logging and main: where the process is put together."""
