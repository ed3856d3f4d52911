"""Training of E2Rank: its two losses, the texts that it reads, and the run."""
