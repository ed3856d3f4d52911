"""Tables: columns, groups and layouts."""
