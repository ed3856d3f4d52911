"""Text handling shared by all rooms: words, labels, printable text, redaction, control tokens."""
