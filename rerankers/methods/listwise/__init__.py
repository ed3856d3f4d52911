"""Options of listwise rerankers."""
