"""``methods``: every arm is tuned, trained and set beside the others, by one command."""

import json
import re

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.cli.pilot import best_of
from lightning_sparse.errors import UserError
from lightning_sparse.execution import session
from lightning_sparse.execution.worker import run_job
from lightning_sparse.pipeline.runner import run_here
from lightning_sparse.planning.pilot import trials_of
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.records import read_records
from lightning_sparse.report.readme import markers
from lightning_sparse.settings.compose import compose_settings

ARMS = ["random", "rigl", "prune", "scratch", "rigl_twice"]
WORDS = (
    "methods", "experiment=smoke", "distribution=erdos_renyi_kernel", "model.widths=[4,6]",
    "training.num_steps=6", "pruning.end_step=4", "evaluation.train_subset_size=32",
    f"methods.arms=[{','.join(ARMS)}]", "reproduce.seeds=[31,32]", "reproduce.sparsities=[]",
    "pilot.seeds=[1]", "pilot.learning_rates=[0.1,0.4]", "pilot.prune_trials=null",
    "pilot.numbers.rigl={swaps:{drop_fraction:0.5}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    """Made in this process, since another takes seconds to begin."""
    folder = tmp_path_factory.mktemp("methods")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            session,
            "run_jobs",
            lambda jobs, _, *, console, **_others: run_here(jobs, run_job, console=console),
        )
        assert main([*WORDS, f"runs_dir={folder}"]) == 0
        before = {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")}
        assert main([*WORDS, f"runs_dir={folder}"]) == 0
    assert before == {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")}
    return folder


def test_every_arm_is_trained_with_what_its_own_objective_chose(runs_dir):
    lines = (runs_dir / "methods/pilot.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    tried = {name: [e for e in entries if e["tuned"] == name] for name in ARMS}
    # What builds on another comes after it; another length takes what was tuned for its original.
    assert [entry["tuned"] for entry in entries[::2]] == ["random", "rigl", "prune", "scratch"]
    assert tried["rigl"][1]["overrides"][1] == "tuned.arguments.rigl={swaps:{drop_fraction:0.5}}"
    best = {
        name: min(trials, key=lambda trial: trial["objectives"])["overrides"]
        for name, trials in tried.items()
        if trials
    }
    for run in read_records(runs_dir / "methods/records.jsonl"):
        chosen = best["rigl" if run.arm == "rigl_twice" else run.arm]
        assert run.config["training"]["learning_rate"] == float(chosen[0].partition("=")[2])
        swaps = run.config["method"]["sparse_method"].get("swaps", {})
        assert swaps.get("drop_fraction", 0.3) == (0.5 if "tuned.arguments" in str(chosen) else 0.3)
        assert run.num_steps == (12 if run.arm == "rigl_twice" else 6)


def test_records_are_of_report_seeds_alone_with_all_that_was_needed(runs_dir):
    runs = read_records(runs_dir / "methods/records.jsonl")
    assert sorted((run.arm, run.seed) for run in runs) == sorted(
        (arm, seed) for arm in ARMS for seed in (31, 32)
    )
    by_id = {run.run_id: run for run in runs}
    assert {by_id[run.mask_source].arm for run in runs if run.mask_source} == {"prune"}


def test_the_page_has_a_row_for_each_arm_and_the_claims_whose_arms_are_there(runs_dir):
    page = (runs_dir / "methods/report.md").read_text()
    rows = re.findall(r"^\| \d+ \| ([^|]+) \| 90.% \| 2 \|", page, flags=re.MULTILINE)
    assert rows == ["random mask", "RigL", "pruned", "scratch", "RigL, twice the steps"]
    judged = json.loads((runs_dir / "methods/claims.json").read_text())
    assert [claim["claim"] for claim in judged] == ["R1", "R4: RigL, twice the steps"]
    assert all(len(claim["records"]) == 4 for claim in judged)
    assert (runs_dir / "methods/figures/methods.png").is_file()


def test_what_is_published_is_the_page_with_its_figure_records_and_pilot(
    runs_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["publish", *WORDS[1:], f"runs_dir={runs_dir}"]) == 0
    published = tmp_path / "results/smoke"
    names = {"records.jsonl", "claims.json", "pilot.jsonl", "report.md", "figures/methods.png"}
    files = {file for file in published.rglob("*") if file.is_file()}
    assert {str(file.relative_to(published)) for file in files} == names
    for name in names:
        assert (published / name).read_bytes() == (runs_dir / "methods" / name).read_bytes()
    shown = re.search(r"!\[methods\]\((.*?)\)", (published / "report.md").read_text())[1]
    assert (published / shown).is_file()
    check_page_of_methods(tmp_path)


def check_page_of_methods(folder):
    """`readme` puts table, figure and verdicts into the page of methods, twice the same."""
    begin, end = markers("smoke")
    page = folder / "docs" / "methods.md"
    page.parent.mkdir()
    page.write_text(f"# Methods\n\n{begin}\n{end}\n\nRigL.\n")
    for _ in range(2):
        assert main(["readme", *WORDS[1:]]) == 0
        text = page.read_text()
        assert "](../results/smoke/figures/methods.png)" in text
        assert len(re.findall(r"^\| \d+ \| ", text, flags=re.MULTILINE)) == len(ARMS)
        assert re.findall(r"^\| (R\d)[ :]", text, flags=re.MULTILINE) == ["R1", "R4"]
        assert text.endswith("\n\nRigL.\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["methods.arms=[]"], "methods.arms=[]: name what is set beside each other"),
        (["methods.arms=[rigl,rigid]"], "methods.arms: rigid: choose of dense, dense2, acdc"),
        (["methods.arms=[rigl]", "reproduce.seeds=[1]"], "[1] are pilot seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, expected, tmp_path, capsys):
    assert main(["methods", "experiment=smoke", f"runs_dir={tmp_path}", *words]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_of_trials_the_lowest_mean_is_taken_and_one_that_came_to_nothing_is_the_worst():
    def trial(arm, rate, *objectives):
        return {"tuned": arm, "overrides": [f"rate={rate}"], "objectives": objectives}

    entries = [trial("a", 1, 0.5, 0.1), trial("a", 2, 0.2, 0.3), trial("a", 3, 0.1, None)]
    assert best_of([*entries, trial("b", 4, 9.0)]) == {"a": ["rate=2"], "b": ["rate=4"]}
    with pytest.raises(UserError, match="no trial of c was finished"):
        best_of([trial("c", 1, None)])


def test_controls_and_repeats_are_not_tuned_and_all_others_as_often():
    settings = compose_settings(["experiment=digits_methods"])
    settled, tuned = {"snip_shuffled", "rigl_twice", "dense2"}, {"dense_small", "synflow", "prune"}
    assert {*settled - {"dense2"}, *tuned} < {*settings.methods.arms}
    trials = trials_of(settings, [*settled, *tuned])
    assert set(trials) == tuned
    assert {len(of_arm) for of_arm in trials.values()} == {4}


def test_a_control_takes_what_is_tuned_of_its_original_and_what_is_typed_stays():
    tuned = ["tuned.learning_rate.snip=0.7", "tuned.arguments.snip={num_batches:4}"]
    for arm in ("snip", "snip_shuffled"):
        settings = compose_settings([f"method={arm}", *tuned])
        assert settings.training.learning_rate == 0.7
        assert settings.method.sparse_method["num_batches"] == 4
    typed = compose_settings(["method=snip", *tuned, "method.sparse_method.num_batches=2"])
    assert typed.method.sparse_method["num_batches"] == 2
    assert compose_settings(["method=grasp", *tuned]).method.sparse_method["num_batches"] == 1


def test_an_arm_of_more_steps_has_its_window_moved_along_and_no_other_arm_has():
    plain, twice = (compose_settings([f"method={arm}"]) for arm in ("rigl", "rigl_twice"))
    assert twice.training.num_steps == 2 * plain.training.num_steps
    swaps = [one.method.sparse_method["swaps"] for one in (plain, twice)]
    assert swaps[1]["end_step"] == 2 * swaps[0]["end_step"]
    assert swaps[1]["update_every"] == swaps[0]["update_every"]
    (needed,) = plan_training(
        compose_settings(["method=scratch", "training_steps_multiplier=2"])
    ).needs
    assert needed.cost == twice.training.num_steps
