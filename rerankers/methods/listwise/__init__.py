"""Options of methods that rank several passages in one call."""
