"""The subcommands of `rerankbench train`, one module each."""
