"""What every part may use: errors, the clock, threads, stop signals."""
