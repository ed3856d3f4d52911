"""Options of methods behind endpoints other than chat models."""
