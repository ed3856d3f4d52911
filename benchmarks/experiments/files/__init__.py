"""Settings files: YAML with the line of every value, and paths relative to the file."""
