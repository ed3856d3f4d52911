"""Options of methods that score each passage by itself."""
