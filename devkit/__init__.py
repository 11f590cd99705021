"""The environment of the demo and the tests: a real control plane and an embedded Qdrant."""
