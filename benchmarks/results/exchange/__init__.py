"""Exchange of results with other programs: runs, JSON lines, metadata and imported runs."""
