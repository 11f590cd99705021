"""The two resources as pydantic models; `crds/` is rendered from them."""
