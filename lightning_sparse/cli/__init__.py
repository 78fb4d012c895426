"""The command line: composes settings, builds objects, calls one function of a lower room."""
