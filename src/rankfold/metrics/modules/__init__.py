"""Metrics as `evaluate` modules, loaded by path through `rankfold.metrics.load`."""
