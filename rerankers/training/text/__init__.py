"""Training of the listwise text ranker: PE-Rank's backbone, lists and Trainer, with passages as text."""
