"""Claims, intervals and tables: reads records only, never a model; no torch, no lightning."""
