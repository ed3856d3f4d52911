"""What a training shows and keeps while it runs: log, progress, curves, and when it ends early."""
