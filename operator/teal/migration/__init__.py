"""The steps of one migration, a module each."""
