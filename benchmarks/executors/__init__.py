"""How the harness runs an experiment: here and now, or elsewhere."""
