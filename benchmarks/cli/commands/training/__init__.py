"""`rerankbench train WHAT`: one module for each thing to do."""
