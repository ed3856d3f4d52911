"""The checkpoint formats of PE-Rank: our own, the released one, adapters, compact ones."""
