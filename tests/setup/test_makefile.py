"""What make runs, read from ``make --dry-run``."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def make(*arguments: str) -> str:
    # A make that runs these tests hands its own settings down.
    inherited = (
        "MAKE", "MFLAGS", "EXPERIMENT", "SEED", "SPARSITY", "ARGS", "FROM", "TO", "SPACE", "CURVE",
        "DEGREE", "GPUS", "NODES", "PARTITION", "PYTHON", "RECORDS", "TINY",
    )  # fmt: skip
    variables = {k: v for k, v in os.environ.items() if not k.startswith(inherited)}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def command(*arguments: str) -> str:
    """The last command that the targets would run."""
    return make("--dry-run", *arguments).splitlines()[-1].removeprefix(".venv/bin/")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def test_help_is_what_make_does_and_lists_every_target():
    assert make() == make("help")
    listed = {line.split()[0] for line in make().splitlines() if line.startswith("  ")}
    assert listed == targets()
    assert {"setup", "reproduce", "train-lottery", "path", "test", "check"} <= listed


@pytest.mark.parametrize("target", sorted(targets() - {"help", "setup", "clean-env"}))
def test_every_target_sets_up_what_it_needs_first(target):
    first = make("--dry-run", target).splitlines()[0]
    assert first == "python3 -IS tools/environment.py --quiet"


def test_settings_become_overrides():
    net = "ARGS=model._target_=my_package.Net"
    assert command("train-prune", "EXPERIMENT=digits", "SEED=3", "SPARSITY=0.9", net) == (
        "lightning-sparse train method=prune experiment=digits seed=3 sparsity=0.9 "
        "model._target_=my_package.Net"
    )


def test_settings_that_are_not_given_are_left_to_the_configuration():
    assert command("train-dense").split() == ["lightning-sparse", "train", "method=dense"]
    assert command("path").split() == ["lightning-sparse", "path"]


def test_seeds_become_a_list():
    assert command("reproduce", "SEEDS=11,12,13").split() == [
        "lightning-sparse", "reproduce", "'reproduce.seeds=[11,12,13]'",
    ]  # fmt: skip


def test_a_path_takes_its_ends_space_and_curve():
    ends = ("FROM=scratch:end", "TO=prune:end", "SPACE=dense", "CURVE=cubic")
    assert command("path", "SEED=11", *ends) == (
        "lightning-sparse path seed=11 "
        "'path.start=scratch:end' 'path.end=prune:end' path.space=dense curve=cubic "
    )


def test_what_is_verified_is_a_folder_or_else_all_runs():
    assert command("verify", "RUN=runs/a runs/b") == "lightning-sparse verify runs/a runs/b "
    assert command("verify", "SEED=3") == "lightning-sparse verify runs "


def test_a_folder_may_be_called_anything(tmp_path):
    folder = tmp_path / "it's a=b, (c) #~& ü"
    folder.mkdir()
    words = shlex.split(command("verify", f"RUN={folder}"))
    assert words == ["lightning-sparse", "verify", str(folder)]
    for target, variable, setting in (
        ("line", "FROM", "path.start"), ("report", "RUNS", "report.runs"),
        ("data-imagenet", "IMAGENET", "imagenet"),
    ):  # fmt: skip
        assert f"{setting}={folder}" in shlex.split(command(target, f"{variable}={folder}"))


def test_a_sweep_is_named_by_its_file_and_an_agent_by_the_sweeps_id():
    assert command("sweep", "SWEEP=gap", "EXPERIMENT=smoke").split() == [
        "lightning-sparse", "sweep", "sweep.file=gap", "experiment=smoke",
    ]  # fmt: skip
    assert command("agent", "SWEEP_ID=me/project/a1").split() == [
        "lightning-sparse", "agent", "sweep.id=me/project/a1",
    ]  # fmt: skip
    agents = " ".join(make("--dry-run", "slurm-agents", "SWEEP_ID=a/b/c", "N=8").splitlines()[-2:])
    assert agents.replace("\\", "").split() == [
        ".venv/bin/lightning-sparse", "agent", "where=slurm", "sweep.id=a/b/c",
        "sweep.num_agents=8",
    ]  # fmt: skip
    last_two = " ".join(make("--dry-run", "sweep-local", "SWEEP=gap", "N=2").splitlines()[-2:])
    assert last_two.replace("\\", "").split() == [
        ".venv/bin/lightning-sparse", "multirun", "sweep.file=gap", "sweep.num_processes=2",
    ]  # fmt: skip
    assert command("slurm-sweep", "SWEEP=gap", "EXPERIMENT=smoke").split() == [
        "lightning-sparse", "multirun", "where=slurm", "sweep.file=gap", "experiment=smoke",
    ]  # fmt: skip


def test_what_is_published_may_come_from_several_machines():
    said = make("--dry-run", "publish", "EXPERIMENT=smoke", "RECORDS=a/r.jsonl,b/r.jsonl")
    assert " ".join(said.splitlines()[-2:]).replace("\\", "").split() == [
        ".venv/bin/lightning-sparse", "publish", "'report.records=[a/r.jsonl,b/r.jsonl]'",
        "experiment=smoke",
    ]  # fmt: skip


def test_nodes_and_gpus_are_the_trainers():
    where = ("NODES=2", "GPUS=8", "PARTITION=gpu")
    ranks = "trainer.accelerator=gpu trainer.devices=8 ++trainer.num_nodes=2 slurm.partition=gpu"
    assert command("slurm-train-prune", "EXPERIMENT=imagenet", *where, "SEEDS=11,12").split() == [
        "lightning-sparse", "train", "where=slurm", "method=prune", "experiment=imagenet",
        *ranks.split(),
        "'slurm.seeds=[11,12]'",
    ]  # fmt: skip
    assert command("slurm-reproduce", *where).split() == [
        "lightning-sparse", "reproduce", "where=slurm", *ranks.split()
    ]  # fmt: skip
    assert command("slurm-path", "TO=prune:end").split() == [
        "lightning-sparse", "path", "where=slurm", "'path.end=prune:end'"
    ]  # fmt: skip
    assert command("train-dense", "GPUS=1").endswith("trainer.accelerator=gpu trainer.devices=1 ")


def test_an_interpreter_that_is_given_is_used_as_it_is():
    assert make("--dry-run", "gpu-check", "PYTHON=python3", "TINY=1", "ARGS=--work x").split() == [
        "python3", "tools/gpu_check.py", "--tiny", "--work", "x",
    ]  # fmt: skip


def test_brackets_and_stars_in_free_overrides_are_not_file_names(tmp_path):
    probe = REPOSITORY / "Makefile"
    (tmp_path / "a=8").touch()
    done = subprocess.run(
        ["make", "-s", "-C", tmp_path, "-f", probe, ".venv", "readme",
         "SETUP=:", "SPARSE=echo", "ARGS=a=[8,9] a=* 'b=choice(1, 2)'"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "readme a=[8,9] a=* b=choice(1, 2)" in done.stdout
