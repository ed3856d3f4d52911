"""The command line of `rerankbench`: `main` runs it, `commands` has one module per command."""
