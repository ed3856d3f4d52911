"""Training data: records of files, examples as token ids, vectors, and batches."""
