"""Output formats: the HTML page, LaTeX, Markdown, CSV and notebooks."""
