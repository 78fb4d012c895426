"""Records that several machines made are put together, and what is judged on them says so."""

import dataclasses
import json
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_records, to_json
from lightning_sparse.report.readme import markers

RECORDS = Path(__file__).parents[2] / "results" / "digits" / "records.jsonl"


def on_machine(record, name, of="accelerator"):
    return dataclasses.replace(record, provenance={**record.provenance, of: name})


@pytest.fixture(scope="module")
def published():
    return [record for record in read_records(RECORDS) if record.seed in {37, 38}]


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
    first = written(tmp_path / "a", [on_machine(r, "GPU A") for r in published if r.seed == 37])
    second = written(tmp_path / "b", [on_machine(r, "GPU B") for r in published if r.seed == 38])

    assert report(tmp_path, first, second / "records.jsonl") == 0

    folder = tmp_path / "runs" / "reproduce_digits"
    assert len(read_records(folder / "records.jsonl")) == len(published)
    claims = {claim["claim"]: claim for claim in json.loads((folder / "claims.json").read_text())}
    assert claims["B"]["seeds"] == [37, 38]
    said = "Measured on 2 kinds of machine, on which every verdict rests: GPU A, seeds 37; GPU B"
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
    assert not (tmp_path / "runs" / "reproduce_digits").exists()


def test_publish_keeps_one_result_of_two_machines_each_with_its_hardware(
    tmp_path, published, monkeypatch
):
    first = written(tmp_path / "a", [on_machine(r, "GPU A") for r in published if r.seed == 37])
    second = written(tmp_path / "b", [on_machine(r, "GPU B") for r in published if r.seed == 38])
    monkeypatch.chdir(tmp_path)

    assert report(tmp_path, first, second, verb="publish") == 0

    results = tmp_path / "results" / "digits"
    kept = read_records(results / "records.jsonl")
    assert {(r.seed, r.provenance["accelerator"]) for r in kept} == {(37, "GPU A"), (38, "GPU B")}
    claims = {claim["claim"]: claim for claim in json.loads((results / "claims.json").read_text())}
    assert claims["B"]["seeds"] == [37, 38]
    assert (results / "headline.png").is_file()
    assert not (results / "search.png").exists()


def test_where_the_search_went_on_its_figure_is_published_and_processors_are_told_apart(
    tmp_path, published, monkeypatch
):
    searched = [record for record in read_records(RECORDS) if record.seed == 31]
    others = [on_machine(r, "AVX2", of="instruction_set") for r in published if r.seed == 37]
    folder = written(tmp_path / "a", [*searched, *others])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for page in ("README.md", "docs/results.md"):
        Path(page).write_text("\n".join(markers("digits")) + "\n")

    assert report(tmp_path, folder, verb="publish") == 0
    assert main(["readme", "experiment=digits"]) == 0

    page = Path("docs/results.md").read_text()
    assert "](../results/digits/search.png)" in page
    assert "AMD EPYC with AVX2, seeds 37; AMD EPYC with AVX512, seeds 31" in page
