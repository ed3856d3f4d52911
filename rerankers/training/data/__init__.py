"""Training data: records, examples, vectors and batches."""
