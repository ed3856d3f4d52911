"""Datasets: queries, judgements and passages, and the formats that hold them."""
