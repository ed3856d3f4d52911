"""Options of methods made of other methods."""
