"""Executors of an experiment: in this process, or on a Ray cluster."""
