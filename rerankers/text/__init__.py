"""Text handling that every room shares: words, labels, printable text, redaction."""
