"""The index: one SQLite file with every file, comparison and posted pair."""
