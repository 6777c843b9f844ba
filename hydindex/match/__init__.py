"""Pure functions that decide which files look alike."""
