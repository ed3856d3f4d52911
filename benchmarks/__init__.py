"""The harness: datasets, first stages, candidate pools, the pipeline, records and the command line."""
