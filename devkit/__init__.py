"""What the demo and the tests run on: a real control plane and an embedded Qdrant."""
