"""Everything that talks to Qdrant: administration, points in bulk, aliases, readiness."""
