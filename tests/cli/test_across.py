import csv
import json
import re
from pathlib import Path

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_records, to_json

PUBLISHED = Path(__file__).parents[2] / "results" / "rules_1" / "digits" / "records.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of five seeds at one sparsity, each in its own folder."""
    runs_dir = tmp_path_factory.mktemp("across")
    for record in read_records(PUBLISHED):
        is_wanted = record.seed in range(11, 16) and record.target_sparsity in {0.0, 0.98}
        if record.kind == "run" and is_wanted:
            (runs_dir / record.run_id).mkdir()
            (runs_dir / record.run_id / "record.json").write_text(to_json(record) + "\n")
    return runs_dir


def names_of(folder):
    return sorted(file.parent.name for file in folder.glob("*/record.json"))


def test_a_folder_is_drawn_and_what_lacks_is_said(folder, capsys):
    assert main(["report", f"report.runs={folder}"]) == 0
    assert capsys.readouterr().out.endswith(f"report: {folder}/across/report.html\n")
    page = (folder / "across" / "report.html").read_text()
    assert 'id="accuracy-against-sparsity"' in page
    assert 'id="gap-against-length"' in page
    assert 'Rise against rewind step</h2>\n<p class="note">No record of such runs.' in page
    assert (folder / "across" / "figures" / "gap-against-length.png").stat().st_size > 1000
    for name in names_of(folder):
        assert name in page or "dense" in name
    table = re.search(r"<td>scratch</td><td class=\"number\">0.98</td>.*?</tr>", page).group()
    assert '<td class="number">5</td>' in table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_of_a_wandb_export_the_runs_that_the_disk_has_not_are_named(
    kind, encoding, folder, tmp_path, capsys
):
    here = names_of(folder)[:4]
    names = [*here, "digits-prune-s0.98-seed99-00000000", "report-reproduce"]
    file = tmp_path / f"export.{kind}"
    if kind == "csv":
        with file.open("w", newline="", encoding=encoding) as stream:
            writer = csv.writer(stream)
            writer.writerows([["Name", "State"], *([name, "finished"] for name in names)])
    else:
        lines = [json.dumps({"name": name}) + "\n" for name in names]
        file.write_text("".join(lines), encoding=encoding)
    assert main(["report", f"report.runs={file}", f"runs_dir={folder}"]) == 0
    said = capsys.readouterr().out
    assert f"without a finished record in {folder}: digits-prune-s0.98-seed99-00000000\n" in said
    page = (folder / "across" / "report.html").read_text()
    assert "hence not shown: digits-prune-s0.98-seed99-00000000." in page
    assert "From 4 records on disk" in page


def test_a_run_that_was_begun_with_a_tracker_and_has_not_finished_is_named(folder, capsys):
    begun = folder / "begun"
    begun.mkdir()
    (begun / "wandb.json").write_text("{}")
    assert main(["report", f"report.runs={folder}"]) == 0
    assert "without a finished record in" in capsys.readouterr().out
    (begun / "wandb.json").unlink()
    begun.rmdir()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none.csv", None, "none.csv: is neither a folder of runs nor a file"),
        ("a.csv", "State\nfinished\n", "a.csv: has no column Name or name"),
        ("a.jsonl", "{", "a.jsonl: neither CSV nor JSON Lines"),
        ("a.csv", "", "a.csv: has no column Name or name"),
        ("a.jsonl", "3\n", "a.jsonl: has no column Name or name"),
    ],
)
def test_what_is_no_export_is_refused(name, text, expected, folder, tmp_path, capsys):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(["report", f"report.runs={tmp_path}/{name}", f"runs_dir={folder}"]) == 2
    assert expected in capsys.readouterr().err


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["report", f"report.runs={tmp_path}"]) == 2
    assert "no finished run in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
