"""Rerankers that combine other rerankers: fusion and cascade."""
