"""Options of methods that compare a few passages at a time."""
