"""Trains the listwise text ranker: PE-Rank's backbone, lists and Trainer, with the passages' text."""
