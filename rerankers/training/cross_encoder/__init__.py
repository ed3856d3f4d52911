"""Training of a cross-encoder on lists that a teacher scored."""
