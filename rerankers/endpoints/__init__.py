"""One HTTP client for every endpoint that is paid: bounded, redacted, retried, budgeted and cached."""
