"""Embedding models (`encoder`) and the store that keeps their vectors (`store`)."""
