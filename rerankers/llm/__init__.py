"""Causal language models: loading, shared prefixes, exactness of batches, and reading logits."""
