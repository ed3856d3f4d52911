"""One script for a GPU: tests, latency by stage, throughput and device limits, most valuable first."""
