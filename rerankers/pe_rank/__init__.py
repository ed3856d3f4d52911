"""PE-Rank: passages enter the LLM as single embeddings (arXiv 2406.14848)."""
