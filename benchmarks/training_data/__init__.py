"""Making checkpoints: the text and lists they learn from, and the trainings themselves."""
