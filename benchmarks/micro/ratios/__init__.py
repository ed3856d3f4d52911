"""The figures that benchmarks promise: their targets, and how one run records and prints them."""
