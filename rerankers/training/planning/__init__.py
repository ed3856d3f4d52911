"""The plan of a training and its needs, before its first step."""
