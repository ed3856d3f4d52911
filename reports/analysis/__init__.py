"""The numbers of a report, computed from result folders."""
