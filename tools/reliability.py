"""Kill runs, measure what checkpoints cost, and show both: `make reliability`.

What is found goes to results/reliability/faults.jsonl, from which RELIABILITY.md is made.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.records import read_record
from lightning_sparse.report.blocks import Block, Document, Paragraph, Row, Section, Table
from lightning_sparse.report.markdown import render_markdown

FINDINGS = Path("results/reliability/faults.jsonl")
PAGE = Path("RELIABILITY.md")

# The tests that note what they find.
_TESTS = ("tests/faults", "tests/hostile", "tests/training/test_checkpoints.py")

# What is asked for: runs of the matrix (four arms, five steps, two ways to end), kills of the
# pipeline, and the share of a run's time that writing checkpoints may take at the default interval.
_SIZE_OF_MATRIX = 4 * 5 * 2
_NUM_PIPELINE_KILLS = 20
_LARGEST_SHARE = 0.02
_DEFAULT_SECONDS = 30

Findings = Sequence[dict[str, Any]]

_INTRODUCTION = (
    "Made by make reliability. Every run here is interrupted by a real signal to a real process, "
    "started again, and compared with one that nothing disturbed: all files of tensors byte by "
    "byte, history and record but for durations and dates, and in the last checkpoint weights, "
    "momentum, masks, schedules, place in the data and generators bit by bit. SIGTERM and SIGUSR1 "
    "ask a run to stop, SIGKILL does not ask. On the CPU. On a GPU the same is promised unless "
    "deterministic=false, and tested by pytest -m gpu wherever there is one; no GPU is in the "
    "numbers here."
)


def measure() -> None:
    """Run all tests of faults, then runs of digits, and keep what they find."""
    from lightning_sparse.training.provenance import provenance  # noqa: PLC0415 (torch)

    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.jsonl"
        machine = provenance()
        found.write_text(_line(test="machine", **machine))
        # A test that cannot run on this kind of machine is not one that was skipped here.
        without_gpu = [] if machine["accelerator"] else ["-m", "not gpu"]
        command = [sys.executable, "-m", "pytest", *_TESTS, *without_gpu]
        environment = {**os.environ, "RELIABILITY": str(found)}
        # Tests that fail are a finding too.
        subprocess.run(command, env=environment, check=False)
        with found.open("a", encoding="utf-8") as stream:
            for arm in ("dense", "prune"):
                for seconds in (_DEFAULT_SECONDS, 1):
                    stream.write(_cost(arm, seconds, Path(folder) / f"{arm}_{seconds}"))
        write_text_atomic(FINDINGS, found.read_text(encoding="utf-8"))


def _cost(arm: str, seconds: int, runs_dir: Path) -> str:
    """Train one arm of digits as `reproduce` does; return what its checkpoints took."""
    words = [
        "train", "experiment=digits", f"method={arm}", f"runs_dir={runs_dir}",
        f"checkpoint.every_seconds={seconds}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "lightning_sparse.cli.main", *words], check=True)
    (run_dir,) = runs_dir.iterdir()
    record = read_record(run_dir)
    return _line(
        test="cost",
        of=arm,
        every_seconds=seconds,
        seconds=record.provenance["checkpoint_seconds"],
        of_seconds=record.wall_seconds,
    )


def _line(**found: Any) -> str:
    return json.dumps(found) + "\n"


@dataclass(frozen=True)
class Judged:
    """What was found beside what was asked for."""

    what: str
    found: str
    asked_for: str
    holds: bool


def judge(findings: Findings) -> list[Judged]:
    """Hold what was found against what was asked for; what is missing does not hold."""
    (tests,) = _of_test(findings, "tests")
    matrix = _of_test(findings, "kill matrix")
    pipeline = [item for item in _of_test(findings, "pipeline kills") if item["running"]]
    claims = _of_test(findings, "pipeline claims")
    hostile = _of_test(findings, "hostile files")
    different = sum(bool(item["differences"]) for item in matrix)
    survived = sum(not item["differences"] for item in pipeline)
    equal = bool(claims) and not any(item["differences"] for item in claims)
    executed = sum(item["executed"] for item in hostile)
    failed = len(tests["not_passed"])
    share = max(_share(item) for item in _costs_by_default(findings))
    return [
        Judged("tests of faults that fail or are skipped", f"{failed} of {tests['number']}", "0",
               holds=not failed and tests["number"] > 0),
        Judged("runs of the kill matrix that end with other bits", f"{different} of {len(matrix)}",
               f"0 of {_SIZE_OF_MATRIX}", holds=not different and len(matrix) >= _SIZE_OF_MATRIX),
        Judged("kills of the pipeline that lose nothing finished", f"{survived} of {len(pipeline)}",
               f"{_NUM_PIPELINE_KILLS} of {_NUM_PIPELINE_KILLS}",
               holds=survived == len(pipeline) == _NUM_PIPELINE_KILLS),
        Judged("claims after them, and those of an undisturbed run",
               "equal" if equal else "not equal", "equal", holds=equal),
        Judged("hostile files whose code was executed", f"{executed} of {len(hostile)}", "0",
               holds=not executed and len(hostile) > 0),
        Judged("largest share of a run's time for checkpoints, by default", f"{share:.2%}",
               f"{_LARGEST_SHARE:.0%}", holds=share <= _LARGEST_SHARE),
    ]  # fmt: skip


def _of_test(findings: Findings, test: str) -> list[dict[str, Any]]:
    return [item for item in findings if item["test"] == test]


def _costs_by_default(findings: Findings) -> list[dict[str, Any]]:
    costs = _of_test(findings, "cost")
    return [item for item in costs if item["every_seconds"] == _DEFAULT_SECONDS]


def _share(cost: dict[str, Any]) -> float:
    return float(cost["seconds"] / cost["of_seconds"])


def page(findings: Findings) -> Document:
    """Put the findings on a page."""
    (machine,) = _of_test(findings, "machine")
    (tests,) = _of_test(findings, "tests")
    kills = [item for item in findings if "differences" in item and item.get("running", True)]
    origin = (
        f"{machine['num_cores']} cores of {machine['processor']}, torch "
        f"{machine['versions']['torch']}, {machine['num_threads']} threads, commit "
        f"{machine['commit']}, {machine['date']}."
    )
    opening: list[Block] = [
        Paragraph(_INTRODUCTION),
        _table_of_verdicts(judge(findings)),
        Paragraph(origin),
    ]
    if tests["not_passed"]:
        opening.append(Paragraph(f"Not passed: {', '.join(tests['not_passed'])}.", tone="note"))
    return Document(
        title="Killed and started again",
        opening=opening,
        sections=[
            Section("Interruptions", [_table_of_kills(kills)]),
            Section("What checkpoints cost", [_table_of_costs(_of_test(findings, "cost"))]),
        ],
    )


def _table_of_verdicts(rows: Sequence[Judged]) -> Table:
    return Table(
        ("what", "found", "asked for", "verdict"),
        [
            Row([row.what, row.found, row.asked_for, "holds" if row.holds else "falls short"])
            for row in rows
        ],
    )


def _table_of_kills(kills: Sequence[dict[str, Any]]) -> Table:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in kills:
        groups.setdefault((item["test"], item.get("of", "")), []).append(item)
    rows = []
    for (test, of), items in groups.items():
        signals = ", ".join(sorted({item.get("signal", "") for item in items}))
        steps = ", ".join(str(step) for step in sorted({item.get("step", "") for item in items}))
        different = sum(bool(item["differences"]) for item in items)
        rows.append(Row([test, of, signals, steps, str(len(items)), str(different)]))
    columns = ("test", "of", "signals", "after steps", "interruptions", "with any difference")
    return Table(columns, rows, numeric=frozenset(columns[4:]))


def _table_of_costs(costs: Sequence[dict[str, Any]]) -> Table:
    columns = ("run of digits", "a checkpoint", "writing them", "training", "share")
    rows = [
        Row([
            item["of"],
            f"every {item['every_seconds']} s, and at the end",
            f"{item['seconds']:.3f} s",
            f"{item['of_seconds']:.1f} s",
            f"{_share(item):.2%}",
        ])
        for item in costs
    ]  # fmt: skip
    return Table(columns, rows, numeric=frozenset(columns[2:]))


def main(words: Sequence[str]) -> int:
    """Measure, unless the one word is ``page``; write the page; return 0 if everything holds."""
    if "page" not in words:
        measure()
    findings = [json.loads(line) for line in FINDINGS.read_text(encoding="utf-8").splitlines()]
    write_text_atomic(PAGE, render_markdown(page(findings)))
    return 0 if all(row.holds for row in judge(findings)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
