"""Slurm: what it answers, what it would never run, and handing jobs to it."""
