"""BGE layerwise: a reranker whose score can be read behind any of its upper layers."""
