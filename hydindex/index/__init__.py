"""The index: one SQLite file that remembers every file, comparison and posted pair."""
