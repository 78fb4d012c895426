"""Which runs and paths a command asks for, and which these need first; no torch, runs nothing."""
