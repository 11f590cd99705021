"""All that talks to Qdrant: admin gateway, bulk streams, ownership marks, readiness."""
