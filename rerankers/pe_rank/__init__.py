"""PE-Rank: a listwise reranker whose LLM reads each passage as one embedding (arXiv 2406.14848)."""
