"""Listwise rerankers whose encoder reads passages one by one and whose decoder writes their order."""
