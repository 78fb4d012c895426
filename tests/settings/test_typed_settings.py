"""Settings are attributes, whose names and types mypy knows, and not words in brackets."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNTYPED = re.compile(r"settings\s*\[")


def test_no_file_reads_settings_by_words_that_nothing_checks():
    folders = ("lightning_sparse", "benchmarks", "tools")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    assert [str(file) for file in files if UNTYPED.search(file.read_text("utf-8"))] == []
