"""The report says what was judged, and compares nothing with a margin, a tolerance or a verdict."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import lightning_sparse.report
from lightning_sparse.analysis.claim import Verdict

FILES = sorted(Path(lightning_sparse.report.__file__).parent.glob("*.py"))
JUDGED = {"margin", "tolerance", "verdict", "is_descent", "has_no_barrier", "adjusted_p"}


def judgements(text):
    """Lines that compare something with what verdicts are made of, or call a judge."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            inside = list(ast.walk(node))
            names = {item.attr for item in inside if isinstance(item, ast.Attribute)}
            words = {item.value for item in inside if isinstance(item, ast.Constant)}
            is_asked = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
            if (names & JUDGED and not is_asked) or words & set(get_args(Verdict)):
                yield node.lineno
        if isinstance(node, ast.Name) and node.id.startswith("judge_"):
            yield node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_judged_where_it_is_shown(file):
    assert not list(judgements(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "text",
    [
        "rise if measured.rise.value > measured.tolerance else None",
        'claim.verdict == "supported"',
        '"contradicted" in {whole, part}',
        "triples = judge_triples(records)",
    ],
)
def test_what_was_judged_there_once_would_be_found(text):
    assert list(judgements(text)) == [1]
