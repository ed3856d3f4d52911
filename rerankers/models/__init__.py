"""Models: their files from hub, folder or wheel, their loading, and batches of their inputs."""
