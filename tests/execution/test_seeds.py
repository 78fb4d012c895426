import json
from statistics import fmean

import yaml

from lightning_sparse.cli.main import main
from lightning_sparse.execution import tracker_choice
from lightning_sparse.records import read_record
from lightning_sparse.tracking.tracker import NoTracker


def records(folder):
    return {file.parent.name: read_record(file.parent) for file in folder.glob("*/record.json")}


def test_a_point_over_seeds_is_their_runs_and_reports_the_mean_under_the_names_of_one(
    tmp_path, monkeypatch, capsys
):
    told = []

    class Told(NoTracker):
        def summarise(self, values):
            told.append(values)

    monkeypatch.setattr(
        tracker_choice, "_tracker", lambda _, run: Told() if run.is_sweep_point else NoTracker()
    )
    words = ["train", "experiment=smoke", f"runs_dir={tmp_path}", "sweep.seeds=[21,22]"]
    assert main(words) == 0
    runs = list(records(tmp_path).values())
    assert sorted(run.seed for run in runs) == [21, 22]
    (means,) = told
    assert means["end/train_objective"] == fmean(run.train.objective for run in runs)
    assert means["end/test_accuracy"] == fmean(run.test.accuracy for run in runs)
    assert f"mean of 2 seeds: end/train_loss {means['end/train_loss']:.6g}" in (
        capsys.readouterr().out
    )

    # The same runs as single commands make.
    assert main([*words[:3], "seed=22"]) == 0
    assert "is finished already" in capsys.readouterr().out


def test_a_random_search_over_seeds_keeps_its_draw_all_values_and_the_best_mean(tmp_path, capsys):
    body = {
        "method": "random",
        "run_cap": 2,
        "metric": {"name": "end/test_accuracy", "goal": "maximize"},
        "command": ["lightning-sparse", "train", "logger=wandb", "${args_no_hyphens}"],
        "parameters": {"run_learning_rate": {"min": 0.01, "max": 0.3}},
    }
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(body))
    words = [
        "multirun", "experiment=smoke", f"runs_dir={tmp_path}/runs", f"sweep.file={file}",
        "sweep.num_processes=1", "sweep.seed=5", "sweep.seeds=[21,22]",
    ]  # fmt: skip
    assert main(words) == 0
    lines = (tmp_path / "runs" / "sweep_search.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    found = records(tmp_path / "runs")
    assert len(entries) == 2
    assert len(found) == 4
    for entry in entries:
        assert (entry["search_seed"], entry["seeds"]) == (5, [21, 22])
        assert entry["values"] == [found[name].test.accuracy for name in entry["runs"]]
        assert entry["mean"] == fmean(entry["values"])
    best = max(entries, key=lambda entry: entry["mean"])
    assert f"best of 2 points: {best['point'][0]}: end/test_accuracy {best['mean']:.6g} (" in (
        capsys.readouterr().out
    )

    file.write_text(yaml.safe_dump({**body, "metric": {"name": "accuracy"}}))
    assert main(words) == 2
    assert "metric.name=accuracy: is no number of a run; choose one of end/train_loss, end/" in (
        capsys.readouterr().err
    )
