"""RankGPT: listwise reranking by a chat model (arXiv 2304.09542)."""
