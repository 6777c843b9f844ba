"""Hydrus's Client API over HTTP."""
