"""Where points come from, and the embedders that make vectors of text."""
