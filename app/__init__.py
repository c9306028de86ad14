"""Command line, composition root, configuration, read model and metrics of effortstream."""
