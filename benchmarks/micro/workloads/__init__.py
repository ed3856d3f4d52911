"""Texts, endpoints and published ways of working that the benchmarks run."""
