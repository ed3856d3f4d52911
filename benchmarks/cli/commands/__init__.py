"""The commands of `rerankbench`: one module each, which imports heavy modules only when its command runs."""
