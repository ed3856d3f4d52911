"""Listwise rerankers, and the windows that carry them over long candidate lists."""
