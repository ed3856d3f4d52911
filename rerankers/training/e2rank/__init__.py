"""Training of E2Rank: its data, texts, losses, model, and the run."""
