"""Monitoring of a running training: log, progress, curves, and reasons to stop early."""
