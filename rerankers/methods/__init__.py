"""The options model of every method, by family; importing one loads neither torch nor the method."""
