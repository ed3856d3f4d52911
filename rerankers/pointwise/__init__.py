"""Pointwise rerankers: each passage is scored on its own, or by its embedding."""
