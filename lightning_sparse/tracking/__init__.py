"""Trackers: who is told, besides the run's own folder, how a run goes. None of them can end it."""
