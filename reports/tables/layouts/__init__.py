"""The layouts of tables: one file a layout, with the function that builds its tables."""
