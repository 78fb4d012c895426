"""A further arm is one file in a user's folder: its settings, and chains of arms."""

import dataclasses
import re

import pytest
import torch

from lightning_sparse.arms import arm_of
from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.records import read_record
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.mask_files import load_masks

ARM = """
start: init
masks: own
words: fixed at random
sparse_method:
  _target_: lightning_sparse.sparsity.methods.random_mask.RandomMask
  sparsity: ${sparsity}
  distribution: ${distribution}
"""
WORDS = ("experiment=smoke", "sparsity=0.9", "training.num_steps=40")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an arm of its user's."""
    (tmp_path / "conf/method").mkdir(parents=True)
    (tmp_path / "conf/method/static.yaml").write_text(ARM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ([], 0.4),
        (["tuned.learning_rate.dense=0.3"], 0.3),
        (["tuned.learning_rate.others=0.2"], 0.2),
        (["tuned.learning_rate.static=0.1"], 0.1),
    ],
)
def test_its_learning_rate_is_that_of_the_dense_arm_until_it_has_its_own(words, rate):
    dense = compose_settings(["experiment=smoke", "method=dense"]).training.learning_rate
    settings = compose_settings(["experiment=smoke", "method=static", *words])
    assert settings.method.name == "static"
    assert settings.training.learning_rate == (rate if words else dense)


def test_a_rate_in_its_file_is_its_own(folder):
    (folder / "conf/method/static.yaml").write_text(f"{ARM}learning_rate: 0.05\n")
    settings = compose_settings(["experiment=smoke", "method=static"])
    assert settings.training.learning_rate == 0.05


def test_an_arm_that_is_not_called_like_its_file_is_refused(folder):
    (folder / "conf/method/static.yaml").write_text(f"{ARM}name: other\n")
    with pytest.raises(UserError, match=r"static\.yaml: name: other: an arm is called like"):
        compose_settings(["experiment=smoke", "method=static"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("word", ["method=rigid", "method.name=rigid"])
def test_an_arm_that_is_not_there_is_refused_with_those_that_are(word):
    with pytest.raises(UserError, match=r"rigid.*static"):
        compose_settings(["experiment=smoke", word])


ROUND = """
sparsity: {sparsity}
sparse_method:
  _target_: lightning_sparse.sparsity.methods.gradual_magnitude.GradualMagnitude
  sparsity: ${{method.sparsity}}
  start_step: ${{pruning.start_step}}
  end_step: ${{pruning.end_step}}
  update_every: ${{pruning.update_every}}
  distribution: ${{distribution}}
"""
ROUNDS = {
    "round1": f"start: init\nmasks: own\nkeeps: [1]\n{ROUND.format(sparsity=0.5)}",
    "round2": f"start: round1:1\nmasks: round1:end\n{ROUND.format(sparsity=0.75)}",
}


def test_pruning_in_rounds_is_a_chain_of_files(folder, capsys):
    for name, text in ROUNDS.items():
        (folder / f"conf/method/{name}.yaml").write_text(text)

    words = ["experiment=smoke", "path.start=round1:end", "path.end=round2:end"]
    assert main(["line", *words]) == 0, capsys.readouterr()

    runs = folder / "runs"
    (first,) = map(read_record, runs.glob("smoke-round1-s0.5-*"))
    (second,) = map(read_record, runs.glob("smoke-round2-s0.75-*"))
    assert (second.mask_source, second.start_source) == (first.run_id, first.run_id)
    assert (second.start, second.rewind_step) == ("round1:1", 1)
    assert first.kept > second.kept
    masks = [load_masks(runs / run.run_id / "masks.safetensors") for run in (first, second)]
    assert all(bool((masks[0][name] | ~mask).all()) for name, mask in masks[1].items())
    start = load_tensors(runs / second.run_id / "start.safetensors")
    kept = load_tensors(runs / first.run_id / "weights_step_1.safetensors")
    assert all(torch.equal(start[name], kept[name] * mask) for name, mask in masks[0].items())
    assert main(["verify", "runs"]) == 0


def test_a_start_that_is_not_the_weights_it_is_said_to_be_is_found(folder, capsys):
    """After the chain above, of which it takes the runs, nothing else would say so."""
    for name, text in ROUNDS.items():
        (folder / f"conf/method/{name}.yaml").write_text(text)
    words = ["experiment=smoke", "method=round2", "training.num_steps=9", "pruning.end_step=8"]
    assert main(["train", *words]) == 0, capsys.readouterr()
    (run_dir,) = (folder / "runs").glob("smoke-round2-*")
    start = load_tensors(run_dir / "start.safetensors")
    (run_dir / "SHA256SUMS").unlink()
    save_tensors({name: 2 * value for name, value in start.items()}, run_dir / "start.safetensors")

    assert main(["verify", str(run_dir)]) == 1

    assert "is not weights_step_1.safetensors of smoke-round1-" in capsys.readouterr().out


def test_less_than_the_masks_that_are_given_is_refused(folder, capsys):
    for name, text in ROUNDS.items():
        (folder / f"conf/method/{name}.yaml").write_text(text.replace("0.75", "0.25"))
    assert main(["train", "experiment=smoke", "method=round2"]) == 2
    assert "and the masks that are given have 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "masks", "expected"),
    [
        ("own:end", "own", "method=own: needs itself, by way of own -> own"),
        ("nowhere:end", "own", "method.start=nowhere:end: there is no such run folder"),
        (
            "init/other",
            "own",
            "method.start=init/other: write a random stream (init, init/scratch)",
        ),
        (
            "init",
            "prune:3",
            "method.masks=prune:3: write none, own for those that its method makes",
        ),
        ("init", "some", "method.masks=some: write none, own"),
    ],
)
def test_a_source_that_cannot_be_is_refused(folder, start, masks, expected):
    text = ARM.replace("start: init", f"start: {start}").replace("masks: own", f"masks: {masks}")
    (folder / "conf/method/own.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(expected)):
        plan_training(compose_settings(["experiment=smoke", "method=own"]))


def test_a_circle_is_named_with_the_arms_on_it(folder):
    for name, other in (("there", "back"), ("back", "there")):
        text = ARM.replace("start: init", f"start: {other}:end")
        (folder / f"conf/method/{name}.yaml").write_text(text)
    with pytest.raises(UserError, match="by way of there -> back -> there"):
        plan_training(compose_settings(["experiment=smoke", "method=there"]))


@pytest.mark.usefixtures("folder")
def test_what_is_said_of_one_arm_is_not_said_of_the_runs_that_it_needs():
    words = ["experiment=smoke", "method=scratch"]
    (alone,) = plan_training(compose_settings(words)).needs
    (pruned,) = plan_training(compose_settings([*words, "method.learning_rate=0.7"])).needs
    assert pruned.run_id == alone.run_id


def test_a_file_in_the_words_of_earlier_versions_is_the_same_arm(folder, capsys):
    file = folder / "conf/method/earlier.yaml"
    file.write_text(ARM.replace("masks: own", "needs_masks: false\nrewound: false"))
    earlier, today = (
        arm_of(compose_settings(["experiment=smoke", f"method={name}"]).method)
        for name in ("earlier", "static")
    )
    assert dataclasses.replace(earlier, name="static") == today
    remark = f"{file}: needs_masks and rewound are written start: init, masks: own now"
    assert remark in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("arm", "masks"), [("prune", "none"), ("dense", "own")])
def test_masks_that_the_method_does_not_make_are_refused(arm, masks, capsys):
    assert main(["train", "experiment=smoke", f"method={arm}", f"method.masks={masks}"]) == 2
    assert f"method.masks={masks}: " in capsys.readouterr().err
