"""What is done, one module for each thing that `decide` can name."""
