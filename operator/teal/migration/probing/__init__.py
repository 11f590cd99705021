"""What is measured of a collection while it serves."""
