"""Records that several machines made are put together, and what is judged on them says so."""

import dataclasses
import json
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_records, to_json

RECORDS = Path(__file__).parents[2] / "results" / "digits" / "records.jsonl"


def on_machine(record, name):
    return dataclasses.replace(record, provenance={**record.provenance, "accelerator": name})


@pytest.fixture(scope="module")
def published():
    return [record for record in read_records(RECORDS) if record.seed in {31, 32}]


def written(folder, records):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(to_json(record) + "\n" for record in records))
    return folder


def report(tmp_path, *folders, verb="report"):
    names = ",".join(map(str, folders))
    return main(
        [verb, "experiment=digits", f"runs_dir={tmp_path}/runs", f"report.records=[{names}]"]
    )


def test_records_of_two_machines_are_judged_as_one_and_every_page_names_both(tmp_path, published):
    first = written(tmp_path / "a", [on_machine(r, "GPU A") for r in published if r.seed == 31])
    second = written(tmp_path / "b", [on_machine(r, "GPU B") for r in published if r.seed == 32])

    assert report(tmp_path, first, second / "records.jsonl") == 0

    folder = tmp_path / "runs" / "reproduce"
    assert len(read_records(folder / "records.jsonl")) == len(published)
    claims = {claim["claim"]: claim for claim in json.loads((folder / "claims.json").read_text())}
    assert claims["B"]["seeds"] == [31, 32]
    said = "Measured on 2 kinds of machine, on which every verdict rests: GPU A, seeds 31; GPU B"
    assert said in (folder / "report.md").read_text()
    # Once more changes nothing.
    before = (folder / "records.jsonl").read_bytes()
    assert report(tmp_path, first) == 0
    assert (folder / "records.jsonl").read_bytes() == before


def test_a_run_that_two_machines_have_done_is_refused_and_nothing_is_written(
    tmp_path, published, capsys
):
    first = written(tmp_path / "a", [on_machine(published[0], "GPU A")])
    second = written(tmp_path / "b", [on_machine(published[0], "GPU B")])

    assert report(tmp_path, first, second) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"error: report.records: {published[0].run_id} is in ")
    assert "a run counts once" in error
    assert not (tmp_path / "runs" / "reproduce").exists()


def test_publish_keeps_one_result_of_two_machines_each_with_its_hardware(
    tmp_path, published, monkeypatch
):
    first = written(tmp_path / "a", [on_machine(r, "GPU A") for r in published if r.seed == 31])
    second = written(tmp_path / "b", [on_machine(r, "GPU B") for r in published if r.seed == 32])
    monkeypatch.chdir(tmp_path)

    assert report(tmp_path, first, second, verb="publish") == 0

    results = tmp_path / "results" / "digits"
    kept = read_records(results / "records.jsonl")
    assert {(r.seed, r.provenance["accelerator"]) for r in kept} == {(31, "GPU A"), (32, "GPU B")}
    claims = {claim["claim"]: claim for claim in json.loads((results / "claims.json").read_text())}
    assert claims["B"]["seeds"] == [31, 32]
    assert (results / "headline.png").is_file()
