"""kopf handlers, settings, HTTP, logging and main: puts the process together."""
