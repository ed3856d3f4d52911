"""The commands of `rerankbench`: one module each, which imports nothing heavy until its command runs."""
