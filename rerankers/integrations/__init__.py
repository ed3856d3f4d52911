"""Adapters to other retrieval toolkits."""
