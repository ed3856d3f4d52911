"""Checkpoints of a training: when they are written, what is in them, and what stands beside them."""
