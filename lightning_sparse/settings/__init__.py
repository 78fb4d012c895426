"""Settings: a typed tree that rooms declare, composed from files and words; alone knows Hydra."""
