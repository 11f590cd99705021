"""The commands `teal` and `kubectl-teal`."""
