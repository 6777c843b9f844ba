"""One file per command: options, run, output."""
