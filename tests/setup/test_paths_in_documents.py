"""Every file that a document names is there, under the name that the document gives it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lightning_sparse"
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *sorted(
    str(file.relative_to(ROOT)) for file in (ROOT / "docs").glob("*.md")
)]  # fmt: skip
NAMED = re.compile(
    r"`([\w.-]+(?:/[\w.-]+)*(?:\.(?:py|ya?ml|sh|sbatch|toml|md)|/))`|\]\((?!http)([^)#]+)"
)

# What is named as a user's own, or as what a run leaves behind.
OTHERS = re.compile(
    r"^(runs|exports|my_\w+|laboratory|checkpoints|figures)\b|\bNAME\b|report\.(html|md)$"
)


def named(document: str) -> list[str]:
    """Return the files and folders that a document names in code or by a link."""
    text = (ROOT / document).read_text("utf-8")
    found = dict.fromkeys(one or link for one, link in NAMED.findall(text))
    return [name for name in found if not OTHERS.search(name)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document):
    places = (ROOT, PACKAGE, ROOT / "benchmarks", (ROOT / document).parent, *PACKAGE.glob("*/"))
    assert [name for name in named(document) if not any((p / name).exists() for p in places)] == []


def test_the_drawing_of_the_house_has_every_room_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    drawn = re.findall(r"^  ([a-z_]+(?:/|\.py)) ", text, re.MULTILINE)
    files = [file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py")]
    rooms = {f"{file.parts[0]}/" if file.parts[1:] else file.name for file in files}
    assert rooms - {"__init__.py"} == set(drawn)
