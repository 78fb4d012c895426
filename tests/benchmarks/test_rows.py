"""Every row runs end to end at its smallest size; what it then measures means nothing."""

import dataclasses
import importlib
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.pairing import run_trial
from benchmarks.records import read_records
from benchmarks.rows import ACCELERATOR_ROWS, ROWS
from benchmarks.workloads import Scale

FOLDER = Path(importlib.import_module("benchmarks.rows").__file__).parent


def test_every_file_is_a_row_of_one_of_the_two_commands():
    files = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}

    assert files == {*ROWS, *ACCELERATOR_ROWS}


@pytest.mark.parametrize("row", sorted({*ROWS, *ACCELERATOR_ROWS}))
def test_a_row_runs(row):
    module = importlib.import_module(f"benchmarks.rows.{row}")

    for trial in module.trials(Scale(is_tiny=True)):
        outcome = run_trial(dataclasses.replace(trial, num_rounds=1))

        assert trial.claims
        assert len(outcome.findings) == len(trial.claims)
        for name, costs in outcome.measured.items():
            assert min(costs) > 0, name


def test_the_command_measures_prints_and_records(tmp_path, capsys):
    arguments = ["run", "digits_loader", "--tiny", "--budget", "0", "--results", str(tmp_path)]

    status = main(arguments)

    records = read_records(tmp_path / "cpu.jsonl")
    verdicts = [finding.verdict for record in records for finding in record.findings]
    assert len(verdicts) == 2
    assert status == (set(verdicts) != {"holds"})
    *_, place, counts = capsys.readouterr().out.splitlines()
    assert place.startswith("records: ")
    assert counts.startswith(f"{verdicts.count('holds')} holds, ")


def test_when_the_seconds_are_over_no_trial_begins_and_what_is_left_out_is_named(tmp_path, capsys):
    rows = ["digits_loader", "command_line"]
    arguments = ["run", *rows, "--tiny", "--seconds", "0", "--results", str(tmp_path)]

    assert main(arguments) == 1

    assert "left out, since 0 seconds are over: digits_loader, command_line" in (
        capsys.readouterr().out
    )
    assert not (tmp_path / "cpu.jsonl").exists()


def test_an_unknown_row_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert main(["run", "masked_stepp", "--results", str(tmp_path)]) == 2

    assert "error: unknown row 'masked_stepp'; choose from masked_step," in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_its_rows_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert main(["run", "--accelerator", "--results", str(tmp_path)]) == 2
    assert "PyTorch finds no CUDA device here" in capsys.readouterr().err
