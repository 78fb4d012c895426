"""Verdicts and records as figures and pages; knows analysis and records, never torch."""
