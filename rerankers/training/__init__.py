"""Training of PE-Rank: alignment, query warm-up and ranking."""
