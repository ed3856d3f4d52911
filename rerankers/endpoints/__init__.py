"""Paid HTTP endpoints: one client that bounds, retries, budgets and caches calls; prices; rerank APIs."""
