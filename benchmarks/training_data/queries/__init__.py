"""Training queries for `rerankbench distill`: their sources, and the removal of test queries."""
