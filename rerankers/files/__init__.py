"""Reading and writing files: the atomic writer, input files, JSON lines, locks, digests."""
