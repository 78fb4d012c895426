"""The files that CONTRIBUTING.md shows: blocks of code that begin with a file's name."""

import re

from tools.environment import REPOSITORY

_BLOCK = re.compile(r"^```\w+\n# ([\w./-]+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def recipe_files() -> dict[str, str]:
    """Return contents by path in the package that they make together."""
    return dict(_BLOCK.findall((REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")))
