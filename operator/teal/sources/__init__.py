"""Sources of points, and the embedders that turn text into vectors."""
