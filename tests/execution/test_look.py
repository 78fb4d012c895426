"""Every verb that plans jobs looks at all of them before the first one begins."""

import re

import pytest

from lightning_sparse.cli import sweep
from lightning_sparse.errors import UserError
from lightning_sparse.execution import session
from lightning_sparse.execution.look import look_before
from lightning_sparse.execution.worker import look_at
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.settings.compose import compose_settings

SMOKE = "experiment=smoke"
PATH = ["path.start=scratch:end", "path.end=prune:end", "path.space=end_mask", "curve=quadratic"]

# What a path, or a later arm, would be refused for after runs were trained; and the same where a
# command is given from another machine.
REFUSED = {
    "evaluation.num_points=30": "evaluation.num_points=30: 30 points on [-0.2, 1.2] leave out an",
    "evaluation.lowest_t=0.1": "evaluation.num_points=8: 8 points on [0.1, 1.2] leave out an end",
    "path.start=dense:end path.space=start_mask": "path.space=start_mask: the start of the path",
    "path.start=dense:end path.space=union": "path.space=union: the start of the path has no masks",
    "evaluation.num_recalibration_images=4096": "evaluation.num_recalibration_images=4096: digits",
    "evaluation.recalibration_batch_size=7": "evaluation.recalibration_batch_size=7: must divide",
    "model._target_=tests.cli.faulty.PooledEarlyNet evaluation.recalibration_batch_size=1": (
        "model PooledEarlyNet, given a batch of one image: ValueError"
    ),
    "model._target_=tests.cli.faulty.SeededNet": "from init: a network trained from scratch would",
    "model._target_=tests.cli.faulty.StandardisedNet": "masked weights are not zero in what",
    "+trainer.nonsense=1": "trainer.nonsense=1",
    "deterministic=true +trainer.benchmark=true": "trainer.benchmark=true: chooses algorithms by",
    "distribution=by_layer +distribution.layers={nothing*:0.9}": "'nothing*' matches no weight",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_path_would_be_refused_for_is_said_before_its_runs_are_trained(tmp_path, words):
    said = [SMOKE, f"runs_dir={tmp_path}", *PATH, *words.split()]
    for is_here in (True, False):
        with pytest.raises(UserError) as caught:
            look_at([plan_path(compose_settings(said))], is_here=is_here)
        assert REFUSED[words] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


SEEDED = "model._target_=tests.cli.faulty.SeededNet"


FEW = ["reproduce.seeds=[21]", "reproduce.claims=[A]", "reproduce.sparsities=[]"]
VERBS = {
    "multirun": ["seed=21,22", "method=dense,scratch"],
    "pilot": ["path.space=end_mask"],
    "reproduce": FEW,
    "sweep": ["sweep.file=gap"],
    "train where=slurm": ["method=scratch", "slurm.seeds=[21,22]"],
    "line where=slurm": [],
    "path where=slurm": [],
    "reproduce where=slurm": FEW,
    "multirun where=slurm": ["seed=21,22", "method=dense,scratch"],
}


@pytest.mark.parametrize("command", VERBS)
def test_every_verb_that_makes_several_looks_at_all_of_them(
    tmp_path, monkeypatch, refused, command
):
    """`reproduce` to its end; others do what comes first in this process, not in their workers'."""
    verb, *where = command.split()
    if verb != "reproduce":
        monkeypatch.setattr(session, "run_jobs", lambda *_, first, **__: first())
    monkeypatch.setattr(sweep, "require_server", lambda: None)
    message = refused(verb, *where, SMOKE, f"runs_dir={tmp_path}", SEEDED, *VERBS[command])
    assert "a network trained from scratch would start where the pruned one did" in message
    assert list(tmp_path.iterdir()) == []


def test_data_that_only_the_machine_of_the_runs_has_are_left_to_it(tmp_path, capsys):
    words = ["data=image_folder", f"data.root={tmp_path}/nowhere", "recalibrate_batch_norm=null"]
    path = plan_path(compose_settings([SMOKE, f"runs_dir={tmp_path}", *PATH, *words]))
    with pytest.raises(UserError, match=r"no images at .*nowhere/train"):
        look_at([path])
    look_at([path], is_here=False)
    assert re.search(r"^note: left to the machine .*: no images at", capsys.readouterr().err)


def test_a_device_that_only_the_machine_of_the_runs_has_is_left_to_it(tmp_path):
    words = ["trainer.accelerator=tpu", "+trainer.precision=bf16-true"]
    path = plan_path(compose_settings([SMOKE, f"runs_dir={tmp_path}", *PATH, *words]))
    with pytest.raises(UserError, match=r"trainer\.accelerator=tpu"):
        look_at([path])
    look_at([path], is_here=False)


def test_the_masks_and_weights_that_a_run_would_take_are_looked_at(tmp_path, pruned_run):
    words = [f"runs_dir={tmp_path}", f"mask_source={pruned_run}", "method=lottery"]
    job = plan_training(compose_settings([SMOKE, *words, "rewind_step=5"]))
    with pytest.raises(UserError, match=r"method\.start=prune:5: .* kept no weights of that step"):
        look_at([job])
    narrower = plan_training(compose_settings([SMOKE, *words, "model.widths=[4,4,4]"]))
    with pytest.raises(UserError, match="does not fit the model ConvNet"):
        look_at([narrower])
    look_at([plan_training(compose_settings([SMOKE, *words]))])


def test_jobs_of_several_seeds_are_looked_at_with_start_weights_of_their_own(tmp_path):
    """As a stopped command leaves them: of one arm one seed is to be made, of the next another."""
    words = [SMOKE, f"runs_dir={tmp_path}"]
    lottery = plan_training(compose_settings([*words, "seed=21", "method=lottery"]))
    dense = plan_training(compose_settings([*words, "seed=22", "method=dense"]))
    look_before([lottery, dense])
