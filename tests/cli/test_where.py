"""Where a command runs is a setting: no result depends on it, and a job runs where it is."""

import importlib
import inspect

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.cli.slurm import words_of
from lightning_sparse.cli.verbs import SUBMITTED, VERBS
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.compose import compose_settings


@pytest.fixture
def no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    return f"runs_dir={tmp_path}"


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_carried_out_by_the_module_of_its_name(name):
    module = importlib.import_module(f"lightning_sparse.cli.{name.replace('-', '_')}")
    took = inspect.signature(module.run).parameters
    assert hasattr(module, "submit") == VERBS[name].is_submitted
    if VERBS[name].is_submitted:
        assert inspect.signature(module.submit).parameters == took


def test_a_job_runs_where_it_is_whoever_said_that_it_is_submitted(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [smoke]\nexperiment_name: smoke\nwhere: slurm\n"
    )
    monkeypatch.chdir(tmp_path)
    here = plan_training(compose_settings(["experiment=smoke", "method=scratch"]))
    for words in (["experiment=smoke", "where=slurm"], ["experiment=mine"]):
        job = plan_training(compose_settings([*words, "method=scratch"]))
        assert job.settings.where == "slurm"
        verb, *said = words_of(job)
        there = compose_settings(said)
        assert (verb, there.where) == ("train", "here")
        assert plan_training(there).run_id == job.run_id == here.run_id


@pytest.mark.parametrize("name", [name for name in SUBMITTED if name != "agent"])
def test_what_was_a_verb_of_its_own_is_understood_and_answered(name, no_slurm, capsys):
    several = ["seed=21,22"] if name == "multirun" else []
    few = ["experiment=smoke", "reproduce.seeds=[21]", "laboratory.seeds=[21]"]
    assert main([f"slurm-{name}", *few, no_slurm, *several]) == 2
    said = capsys.readouterr().err.splitlines()
    assert f"slurm-{name} is written {name} where=slurm now" in said
    assert said[-1].startswith("error: there is no SLURM here: ")


def test_agents_were_a_verb_of_their_own_too(no_slurm, capsys):
    assert main(["slurm-agents", "sweep.id=mine", no_slurm]) == 2
    answer, error = capsys.readouterr().err.splitlines()
    assert answer == "slurm-agents is written agent where=slurm now"
    assert error.startswith("error: sweep.id=mine: write ENTITY/PROJECT/ID")


def test_each_command_of_a_process_is_answered(no_slurm, capsys):
    for _ in range(2):
        main(["slurm-agents", "sweep.id=mine", no_slurm])
    assert capsys.readouterr().err.count("slurm-agents is written agent where=slurm now") == 2


def test_what_cannot_be_submitted_is_not_run_here_instead(refused, tmp_path):
    message = refused("pilot", "experiment=smoke", "where=slurm", f"runs_dir={tmp_path}/runs")
    assert message.startswith("where=slurm: pilot runs here; say where=here (what is submitted: ")
    message = refused("train", "where=moon")
    assert message == "where=moon: choose one of here, slurm"
    message = refused("path", "where=slurm", "sweep.seeds=[21,22]")
    assert message.startswith("sweep.seeds=[21, 22], where=slurm: means over seeds are made by")
    assert list(tmp_path.iterdir()) == []
