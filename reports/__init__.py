"""Reports made from result folders alone: HTML, LaTeX, Markdown, CSV."""
