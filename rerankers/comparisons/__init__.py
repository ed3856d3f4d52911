"""Rerankers that sort by comparing a few passages at a time."""
