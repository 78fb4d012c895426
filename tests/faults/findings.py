"""What the tests of faults find, for the page that `make reliability` writes. No torch in here."""

import json
import os
from pathlib import Path

IS_ASKED = "RELIABILITY" in os.environ
"""Whether the page is what the tests are run for."""

IS_WHOLE = IS_ASKED or "ALL_FAULTS" in os.environ
"""Whether every arm is killed, and not one of each kind alone; `make test-faults` asks for it."""


def note(**found: object) -> None:
    """Append what was found to the file that `RELIABILITY` names, if it names one."""
    if file := os.environ.get("RELIABILITY"):
        with Path(file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found) + "\n")
