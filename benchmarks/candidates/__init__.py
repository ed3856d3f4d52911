"""Candidate sets: frozen once, then the same for every reranker."""
