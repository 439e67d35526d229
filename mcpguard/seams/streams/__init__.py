"""A transport under guard: what passes between its streams meets a chain in each direction."""
