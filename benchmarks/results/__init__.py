"""Result folders: records, cells, seals, merging, export and imported runs."""
