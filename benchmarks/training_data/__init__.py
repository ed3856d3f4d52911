"""Training data and trainings: alignment data, ranked lists from a teacher, training queries, free text."""
