"""Grades of a chat model for passages that nobody judged: `rerankbench judge`."""
