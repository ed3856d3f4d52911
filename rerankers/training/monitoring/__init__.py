"""Monitoring of a training while it runs: log, progress, curves, and early stopping."""
