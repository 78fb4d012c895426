"""Train dense and sparse networks, connect them by paths, and judge what the paths show."""

__version__ = "0.1.0"
