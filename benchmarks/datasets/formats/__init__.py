"""Readers of the files that other programs write, one module a family of formats."""
