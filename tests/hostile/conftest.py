"""A command that must fail."""

from tests.cli.conftest import refused

__all__ = ["refused"]
