"""The page of reliability shows what fails, and its command then fails too."""

import json

import pytest

from tools import reliability

INTACT = [
    {"test": "machine", "num_cores": 2, "processor": "a processor", "versions": {"torch": "2"},
     "num_threads": 2, "commit": "abc", "date": "today"},
    *({"test": "kill matrix", "of": f"arm {arm}", "step": step, "signal": name, "differences": []}
      for arm in ("dense", "lottery", "prune", "scratch") for step in (1, 2, 3, 4, 5)
      for name in ("SIGTERM", "SIGKILL")),
    *({"test": "pipeline kills", "of": "all killed", "running": number != 20, "differences": []}
      for number in range(21)),
    {"test": "pipeline claims", "differences": []},
    {"test": "hostile files", "of": "weights", "executed": False},
    {"test": "tests", "number": 90, "not_passed": []},
    {"test": "cost", "of": "dense", "every_seconds": 30, "seconds": 0.1, "of_seconds": 10.0},
    {"test": "cost", "of": "dense", "every_seconds": 1, "seconds": 1.0, "of_seconds": 10.0},
]  # fmt: skip


def first(test):
    """Return where the first finding of a test stands."""
    return next(number for number, item in enumerate(INTACT) if item["test"] == test)


def with_change(test, **change):
    """Change the first finding of a test."""
    position = first(test)
    return [*INTACT[:position], INTACT[position] | change, *INTACT[position + 1 :]]


def without(test):
    """Leave out the first finding of a test."""
    return [item for number, item in enumerate(INTACT) if number != first(test)]


def run(findings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reliability.FINDINGS.parent.mkdir(parents=True)
    reliability.FINDINGS.write_text("".join(json.dumps(item) + "\n" for item in findings))
    return reliability.main(["page"]), reliability.PAGE.read_text()


def test_where_all_holds_the_page_says_so(tmp_path, monkeypatch):
    status, page = run(INTACT, tmp_path, monkeypatch)

    assert status == 0
    assert page.count("| holds |") == 6
    assert "0 of 40" in page
    assert "| dense | every 1 s, and at the end | 1.000 s | 10.0 s | 10.00% |" in page


@pytest.mark.parametrize(
    ("findings", "what"),
    [
        (with_change("kill matrix", differences=["weights.safetensors"]), "1 of 40"),
        (without("kill matrix"), "0 of 39"),
        (with_change("pipeline kills", differences=["run/record.json"]), "19 of 20"),
        (without("pipeline kills"), "19 of 19"),
        (with_change("pipeline claims", differences=["claims.json"]), "not equal"),
        (without("pipeline claims"), "not equal"),
        (with_change("hostile files", executed=True), "1 of 1"),
        (without("hostile files"), "0 of 0"),
        (with_change("tests", not_passed=["tests.faults.test_it"]), "1 of 90"),
        (with_change("cost", seconds=0.3), "3.00%"),
    ],
)
def test_what_fails_or_is_missing_falls_short(findings, what, tmp_path, monkeypatch):
    status, page = run(findings, tmp_path, monkeypatch)

    assert status == 1
    (line,) = [line for line in page.splitlines() if line.endswith("| falls short |")]
    assert f"| {what} |" in line


def test_tests_that_did_not_pass_are_named(tmp_path, monkeypatch):
    _, page = run(with_change("tests", not_passed=["tests.faults.it"]), tmp_path, monkeypatch)

    assert "Not passed: tests.faults.it." in page
