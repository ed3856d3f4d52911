"""Measuring: the protocol, load, conditions, environment, GPUs and operation counts."""
