"""Pure domain of effortstream: questions, tallies, scores, windows. No I/O, no clock, no randomness."""
