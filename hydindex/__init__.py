"""An incremental index of a Hydrus library that posts every potential duplicate once."""

__version__ = "0.1.0"
