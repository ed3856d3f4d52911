"""Output formats of reports: the HTML page, LaTeX, Markdown, CSV, plain text and notebooks."""
