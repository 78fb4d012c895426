"""Jobs with dependencies: which are missing, and how they run side by side; knows no settings."""
