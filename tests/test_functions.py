"""No function is longer than a screen, and no method than a page; docstrings included."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lightning_sparse"
LONGEST, LONGEST_METHOD = 60, 80


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{file.relative_to(PACKAGE)}: {node.name}, {length} lines"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST
    ]
    assert long == []


def test_a_sparse_method_is_one_file_of_a_page():
    files = (PACKAGE / "sparsity" / "methods").glob("*.py")
    lengths = {file.name: len(file.read_text("utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST_METHOD} == {}
