"""Training queries for `rerankbench distill`: where they come from, and which of them must be left out."""
