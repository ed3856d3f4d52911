"""Comparisons inside and between result folders: factors, earlier runs, queries, judges and loads."""
