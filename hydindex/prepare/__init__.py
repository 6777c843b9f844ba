"""Pure functions that make a thumbnail comparable."""
