"""What a resource means: its declaration in plain terms, and the servers that it names."""
