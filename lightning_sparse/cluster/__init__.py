"""Runs as SLURM jobs: what they ask for, in which order they start, and how they are requeued."""
