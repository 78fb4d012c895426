"""Which arms there are, their files say: in the package only what claims are about is named."""

import ast
import re
from pathlib import Path

import lightning_sparse

PACKAGE = Path(lightning_sparse.__file__).parent
# `dense` is a space of curves too.
NAMED = re.compile(r"(prune|scratch|lottery|dense2)(:(start|end|\d+))?|dense:(start|end|\d+)")

ALLOWED = {
    # What claims are about, and what stands beside them.
    "analysis/claims",
    "analysis/first_rules.py",
    "analysis/second_rules.py",
    "analysis/critical_share.py",
    "analysis/rays.py",
    "analysis/spectra.py",
    "analysis/stronger_search.py",
    # Words of earlier versions, and of their records.
    "arms.py",
    "points.py",
    # What is published elsewhere is kept as a pruned run.
    "cli/import_published.py",
}


def test_no_arm_is_named_but_where_a_claim_is_about_it():
    found = {
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if not ALLOWED & {str(file.relative_to(PACKAGE)), str(file.parent.relative_to(PACKAGE))}
        for text in literals(ast.parse(file.read_text(encoding="utf-8")))
        if NAMED.fullmatch(text)
    }
    assert found == set()


def literals(tree):
    """Yield the texts of a module that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value
