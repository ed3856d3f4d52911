"""Evaluation: measures, statistics, and comparisons of all pairs."""
