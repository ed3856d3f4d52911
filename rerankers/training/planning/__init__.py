"""The plan of a training before its first step: steps, memory, learning rates and truncation."""
