"""One file per method; a file in ``conf/method/`` names the class by its ``_target_``."""
