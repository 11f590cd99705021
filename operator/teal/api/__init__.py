"""The two resources as pydantic models; the files in `crds/` are rendered from them."""
