"""Shared by every package: errors, the clock, threads, stop signals."""
