"""Measures what training and paths cost here against what a user would write instead."""
