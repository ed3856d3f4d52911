"""Measures that are functions of a ranking, one file each, and their registry."""
