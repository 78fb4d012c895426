"""The command line: one verb, one file, which asks for settings and a plan, runs it and reports."""
