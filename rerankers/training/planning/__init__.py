"""What a training is about to do and needs, before its first step."""
