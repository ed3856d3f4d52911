"""Causal language models: loading, shared prefixes, exactness, and reading logits."""
