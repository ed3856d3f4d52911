"""Training of rerankers: PE-Rank in its stages, listwise text rankers, cross-encoders and E2Rank."""
