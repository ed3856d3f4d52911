"""Settings files: YAML with the line of every value, and paths that start at the file."""
