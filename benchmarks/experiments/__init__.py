"""Experiment files: reading and validating them, planning their cells, and the dry run."""
