"""The parts of each kind of training: one module a kind, each with `set_up`."""
