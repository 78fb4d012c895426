"""Variables of schedulers and launchers around a command: whose are they?"""

import json
import os
import subprocess
import sys

import pytest
import torch

from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.execution.launch import is_first_of_run, settle_ranks

ONE = {"devices": 1}
FOUR = {"devices": 2, "num_nodes": 2}
OTHER = {"PATH": "/bin", "SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": "2"}

STRAY = {
    "an allocation of four tasks": {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "vscode"},
    "a batch script": {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    "the second of two independent tasks": {
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1", "SLURM_NODEID": "0",
    },
    "a rank of something else": {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "node1"},
    "a local rank of something else": {"LOCAL_RANK": "1"},
    "LSF": {"JSM_NAMESPACE_RANK": "3"},
    "torchrun with one process": {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "1"},
}  # fmt: skip


@pytest.mark.parametrize("around", STRAY)
def test_a_run_of_one_process_is_one_process_whatever_is_around_it(around):
    environment = {**OTHER, **STRAY[around]}
    settle_ranks(ONE, environment)
    assert is_first_of_run(environment)
    kept = set(environment) - set(OTHER)
    assert kept <= {"SLURM_JOB_NAME"}


RANKS = {
    "srun": {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4",
             "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
             "SLURM_NTASKS_PER_NODE": "2"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "a", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"},
    "torchrun under srun": {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
                            "SLURM_PROCID": "1", "TORCHELASTIC_RUN_ID": "a", "RANK": "3",
                            "LOCAL_RANK": "1", "WORLD_SIZE": "4"},
    "hands": {"LOCAL_RANK": "1"},
    "Lightning, on the second machine": {"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"},
}  # fmt: skip


@pytest.mark.parametrize("launcher", RANKS)
def test_a_rank_of_a_run_of_several_stays_one(launcher):
    environment = {**OTHER, **RANKS[launcher]}
    settle_ranks(FOUR, environment)
    assert environment == {**OTHER, **RANKS[launcher]}
    assert not is_first_of_run(environment)


@pytest.mark.parametrize(
    "around",
    [
        {"RANK": "1", "WORLD_SIZE": "7"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"},
    ],
)
def test_where_nobody_started_the_ranks_of_one_machine_lightning_does(around):
    environment = dict(around)
    settle_ranks({"devices": 4}, environment)
    assert set(environment) <= {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"}
    assert is_first_of_run(environment)


@pytest.mark.parametrize(
    ("trainer", "around", "expected"),
    [
        (ONE, {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}, "torchrun has started 2 processes"),
        (FOUR, {"SLURM_NTASKS": "4"}, "trainer.num_nodes=2: in an allocation of SLURM the ranks"),
        (
            FOUR,
            {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3"},
            "srun has started 3 processes, and trainer.devices and trainer.num_nodes come to 4",
        ),
    ],
)
def test_another_number_of_processes_than_the_settings_ask_for_is_refused(
    trainer, around, expected
):
    with pytest.raises(UserError, match=expected):
        settle_ranks(trainer, dict(around))


def test_a_number_of_devices_that_only_the_machine_knows_leaves_everything():
    environment = {"RANK": "1"}
    settle_ranks({"devices": "auto"}, environment)
    assert environment == {"RANK": "1"}


def test_a_command_with_stray_variables_trains_and_says_its_result(monkeypatch, tmp_path, capsys):
    for name, value in {
        **STRAY["the second of two independent tasks"], "RANK": "1", "SLURM_STEP_ID": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert main(["train", "experiment=smoke", f"runs_dir={tmp_path}"]) == 0
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.dist
def test_two_devices_are_two_ranks_with_one_result_whatever_is_around_them(tmp_path):
    words = ["train", "experiment=smoke", "trainer.devices=2", "+trainer.strategy=ddp"]
    done = subprocess.run(
        [sys.executable, "-m", "lightning_sparse.cli.main", *words, f"runs_dir={tmp_path}"],
        env={**os.environ, "RANK": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"\n{tmp_path}/smoke-dense") == 1
    [record] = tmp_path.glob("*/record.json")
    assert json.loads(record.read_text())["global_batch_size"] == 128


TRAINER = {
    "+trainer.precision=nonsense": "trainer.precision=nonsense: ",
    "trainer.accelerator=abacus": "trainer.accelerator=abacus trainer.devices=1: ",
    "+trainer.strategy=nonsense": "trainer.strategy=nonsense: ",
    "+trainer.foo=1": "trainer.foo=1: TypeError: ",
    "trainer.devices=[a]": "trainer.devices=['a']: ",
    "+trainer.max_time=soon": "trainer.max_time=soon: ",
    "+trainer.gradient_clip_algorithm=3": "trainer.gradient_clip_algorithm=3: ",
    "+trainer.callbacks=[]": "trainer.callbacks=[]: the callbacks of a run keep its masks",
    "+trainer.max_steps=5": "trainer.max_steps=5: how long a run is says training.num_steps",
}


@pytest.mark.parametrize("word", TRAINER)
def test_a_word_that_the_trainer_does_not_take_is_one_line_and_leaves_nothing(
    word, refused, tmp_path
):
    message = refused("train", "experiment=smoke", f"runs_dir={tmp_path}/runs", word)
    assert TRAINER[word] in message
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is not there")
def test_an_accelerator_that_is_not_there_is_named(refused, tmp_path):
    message = refused(
        "train", "experiment=smoke", f"runs_dir={tmp_path}/runs", "trainer.accelerator=gpu"
    )
    assert (
        "trainer.accelerator=gpu trainer.devices=1: MisconfigurationException: No supp" in message
    )
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
