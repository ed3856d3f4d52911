"""Puts together each kind of training: one module a kind, each with a function `set_up`."""
