"""Ranking of one query's sliding windows that drafts beyond the window at hand, in few forward passes."""
