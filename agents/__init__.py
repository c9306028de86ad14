"""The streaming half of effortstream: Faust agents, checkpoints, the response ledger and window state."""
