"""Tables of reports: columns, cells, one module per layout, and the registry of layouts."""
