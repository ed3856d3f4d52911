"""The layouts of tables: one module each, with a function that builds the layout's tables from a context."""
