"""A stand-in for a Hydrus client, over real HTTP."""
