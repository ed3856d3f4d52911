"""Checkpoints of a training: when they are written, their files, model cards and comparisons."""
