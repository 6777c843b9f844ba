"""Decide which files look alike: candidates, methods, matchers."""
