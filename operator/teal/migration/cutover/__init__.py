"""Moving the alias so that no acknowledged write is lost."""
