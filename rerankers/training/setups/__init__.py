"""What each kind of training consists of: one module a kind, each with `set_up`."""
