"""Experiment files: reading, planning, and the dry run."""
