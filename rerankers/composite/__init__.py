"""Rerankers made of other rerankers: fusion and cascade."""
