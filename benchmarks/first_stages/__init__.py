"""First stages: BM25, dense retrieval, and runs from files."""
