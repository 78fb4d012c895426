import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_sparse import __version__
from lightning_sparse.cli.main import main
from lightning_sparse.cli.verbs import VERBS

NO_TORCH = """
import contextlib, io, sys
from lightning_sparse.cli.main import main

for words in {commands!r}:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(words)
    assert status == {status}, (words, status, output.getvalue())
    heavy = {{"torch", "torchvision", "pytorch_lightning", "lightning"}} & set(sys.modules)
    assert not heavy, (words, heavy)
"""


def run_python(code: str, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_help_lists_every_verb_and_is_what_an_empty_command_shows(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in VERBS)
    assert main([]) == 0
    assert main(["train", "-h"]) == 0
    assert capsys.readouterr().out == shown * 2


def test_the_version_is_shown(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lightning-sparse {__version__}\n"


def test_the_settings_of_a_command_are_shown_and_nothing_is_done(capsys, tmp_path):
    assert main(["train", "method=prune", f"runs_dir={tmp_path}/runs", "--settings"]) == 0
    assert "\nmethod:\n  name: prune\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_help_and_whatever_it_answers_at_once_never_import_torch():
    run_python(NO_TORCH.format(status=0, commands=[["--help"], [], ["--version"], ["train", "-h"]]))


def test_what_is_mistyped_is_answered_before_torch_is_imported(tmp_path):
    commands = [
        ["nothing"],
        ["--foo"],
        ["train", "--foo"],
        ["train", "seeed=3"],
        ["train", "method=foo"],
        ["train", "sparsity=1.0"],
        ["train", "method=scratch", "mask_source=nowhere"],
        ["path", "path.start=nowhere"],
        ["reproduce", "reproduce.seeds=[1]"],
        ["report", f"runs_dir={tmp_path}"],
        ["publish", f"runs_dir={tmp_path}"],
        ["verify"],
        ["verify", f"{tmp_path}"],
    ]
    run_python(NO_TORCH.format(status=2, commands=commands))


def test_an_interrupt_is_one_line_and_its_own_status(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_sparse.cli.train.run", interrupt)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted; start the same command again to go on\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "unknown verb 'nothing'; choose one of train, line, path, reproduce,"),
        (["--foo"], "unknown option '--foo'; options are -h, --help, --version and --settings"),
        (["train", "--foo"], "unknown option '--foo'; `lightning-sparse --help` lists"),
        (["train", "--settings", "seeed=3"], "no setting is called 'seeed'; did you mean seed?"),
        (["reproduce", "reproduce.seeds=[1,11]"], "reproduce.seeds=[1, 11]: [1] are pilot seeds"),
        (["reproduce", "reproduce.seeds=[11,11]"], "reproduce.seeds=[11, 11]: name each seed once"),
        (["reproduce", "reproduce.seeds=[]"], "reproduce.seeds=[]: name at least one"),
        (
            ["reproduce", "reproduce.further_seeds=[1]"],
            "reproduce.further_seeds=[1]: [1] are pilot",
        ),
        (["reproduce", "reproduce.seeds=[a]"], "reproduce.seeds=['a']: must be a list of integers"),
        (["reproduce", "mask_source=runs/x"], "mask_source=runs/x: is for single runs"),
        (
            ["pilot", "experiment=smoke", "pilot.seeds=[11]", "reproduce.seeds=[11]"],
            "pilot.seeds=[11]: share a seed with reproduce.seeds=",
        ),
        (
            ["reproduce", "experiment=smoke", "trainer.devices=2"],
            "trainer.devices=2, trainer.num_nodes=1: several runs are made side by side,",
        ),
        (
            ["path", "path.start=foo"],
            "path.start: 'foo' is no point; write an arm or a run folder, and a moment: ",
        ),
        (["path", "path.end=runs/x:middle"], "path.end: 'runs/x:middle' is no point; write an arm"),
        (["path", "path.end=runs/x:end"], "path.end=runs/x:end: there is no such run folder"),
        (
            ["path", "path.start=prune:end"],
            "path.start=prune:end, path.end=prune:end: are one point",
        ),
    ],
)
def test_bad_words_are_refused_and_leave_nothing(words, expected, refused, tmp_path):
    assert refused(*words, *_in(tmp_path, words)).startswith(expected)
    assert list(tmp_path.iterdir()) == []


def _in(folder: Path, words: list[str]) -> list[str]:
    return [f"runs_dir={folder}/runs"] if words[0] in VERBS else []


def smoke(verb: str, folder: Path, *words: str) -> list[str]:
    return [verb, "experiment=smoke", f"runs_dir={folder}", *words]


def test_a_missing_data_set_is_named_with_where_it_was_looked_for(refused, tmp_path):
    message = refused(*smoke("train", tmp_path, "data=cifar10", f"data.root={tmp_path}/none"))
    assert message.startswith(f"cifar10 is missing: looked in {tmp_path}/none/cifar-10-batches-py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["model._target_=nowhere.Net"],
        ["model._target_=builtins.dict"],
        ["+model.colour=red"],
        ["data._target_=nowhere.build"],
        ["data._target_=builtins.dict"],
        ["distribution._target_=builtins.dict", "method=prune"],
        ["training.learning_rate=-1"],
        ["training.lr_schedule.warmup_fraction=2"],
        ["distribution.first_layer=2", "method=prune"],
        ["distribution=by_layer", "method=prune"],
        ["+distribution.layers.nowhere=0.5", "distribution=by_layer", "method=prune"],
        ["+distribution.layers.classifier*=0.5", "distribution=by_layer", "method=prune"],
        ["sparsity=0.98", "distribution=by_layer", "+distribution.layers={*:0.9}", "method=prune"],
    ],
)
def test_what_cannot_be_built_is_one_line_that_names_it_and_leaves_nothing(
    words, refused, tmp_path
):
    message = refused(*smoke("train", tmp_path, *words))
    field = words[0].lstrip("+").partition("=")[0].rpartition(".")
    assert field[2] in message or field[0] in message
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_is_one_line_and_no_record_is_left(refused, tmp_path):
    message = refused(*smoke("train", tmp_path, "training.learning_rate=1e6"))
    assert "loss is nan" in message
    assert "lower training.learning_rate=1000000.0" in message
    assert _files(tmp_path) == {"start.safetensors"}


def test_a_curve_whose_loss_is_no_number_is_one_line_and_no_record_is_left(
    refused, tmp_path, dense_run, pruned_run
):
    ends = [f"path.start={dense_run}:start", f"path.end={pruned_run}:end"]
    message = refused(*smoke("path", tmp_path, *ends, "path.training.learning_rate=1e9"))
    assert "loss" in message
    assert "nan" in message
    assert "lower path.training.learning_rate=1000000000.0" in message
    assert _files(tmp_path) <= {"control_points.safetensors", "history.jsonl"}


def test_a_mask_source_that_does_not_exist(refused, tmp_path):
    message = refused(*smoke("train", tmp_path, "method=scratch", f"mask_source={tmp_path}/none"))
    assert message.startswith(f"mask_source={tmp_path}/none: there is no such run folder; leave")


def test_a_mask_source_that_is_no_pruned_run(refused, tmp_path, dense_run):
    message = refused(*smoke("train", tmp_path, "method=lottery", f"mask_source={dense_run}"))
    assert message == f"mask_source={dense_run}: is a dense run; name a run of method=prune"


def test_a_mask_source_that_has_not_finished(refused, tmp_path):
    (tmp_path / "begun").mkdir()
    message = refused(*smoke("train", tmp_path, "method=scratch", f"mask_source={tmp_path}/begun"))
    assert message == (
        f"{tmp_path}/begun is not a finished run: it has no record.json; train it to the end first"
    )


def test_a_mask_source_of_another_sparsity(refused, tmp_path, pruned_run):
    words = ("method=scratch", f"mask_source={pruned_run}", "sparsity=0.5")
    message = refused(*smoke("train", tmp_path, *words))
    assert message.endswith("was pruned to sparsity 0.9, not 0.5; say sparsity=0.9")


def test_masks_of_another_network(refused, tmp_path, narrow_run):
    words = ("method=scratch", f"mask_source={narrow_run}")
    message = refused(*smoke("train", tmp_path, *words))
    assert message.startswith("masks do not fit: 'features.0.weight' has a mask of shape (4, 1,")
    assert message.endswith("use masks made for this network")


def test_rewinding_to_weights_of_another_network(refused, tmp_path, narrow_run):
    words = ("method=lottery", f"mask_source={narrow_run}")
    message = refused(*smoke("train", tmp_path, *words))
    assert "does not fit the model ConvNet" in message


def test_a_step_that_the_pruned_run_did_not_keep(refused, tmp_path, pruned_run):
    words = ("method=lottery", f"mask_source={pruned_run}", "rewind_step=1")
    message = refused(*smoke("train", tmp_path, *words))
    assert message.startswith(f"method.start=prune:1: {pruned_run} kept no weights of that step")
    assert message.endswith("capture_steps=[1]")


@pytest.mark.parametrize("name", ["weights.safetensors", "masks.safetensors", "record.json"])
def test_a_truncated_file_is_named(name, refused, tmp_path, dense_run, pruned_run):
    damaged = tmp_path / "damaged"
    shutil.copytree(pruned_run, damaged)
    file = damaged / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    ends = [f"path.start={dense_run}:end", f"path.end={damaged}:end", "path.space=dense"]

    message = refused(*smoke("line", tmp_path / "runs", *ends))

    assert message.startswith(str(file))
    assert "damaged" in message
    assert _files(tmp_path / "runs") == set()


def test_ends_of_different_architectures(refused, tmp_path, dense_run, narrow_run):
    ends = [f"path.start={dense_run}:end", f"path.end={narrow_run}:end"]
    message = refused(*smoke("line", tmp_path, *ends))
    assert "does not fit the model ConvNet: 'features.0.weight' is of shape (4, 1, 3, 3)" in message
    assert "connect runs of one architecture" in message


def test_a_space_that_dense_ends_do_not_have(refused, tmp_path, dense_run, pruned_run):
    ends = [f"path.start={pruned_run}:end", f"path.end={dense_run}:end"]
    message = refused(*smoke("path", tmp_path, *ends, "path.space=end_mask"))
    assert message == (
        "path.space=end_mask: the end of the path has no masks; use path.space=dense"
    )


def test_a_path_is_no_end_of_a_path(refused, tmp_path, dense_run, pruned_run):
    ends = [f"path.start={dense_run}:end", f"path.end={pruned_run}:end"]
    assert main(smoke("line", tmp_path, *ends)) == 0
    line = next(tmp_path.glob("smoke-custom-*"))
    message = refused(*smoke("line", tmp_path, f"path.start={line}:end", ends[1]))
    assert message == f"path.start={line}:end: holds a path; name the folder of a training run"


def test_a_folder_that_cannot_be_written_is_named(refused, tmp_path):
    (tmp_path / "file").touch()
    message = refused(*smoke("train", tmp_path / "file"))
    assert message.startswith(f"cannot lock {tmp_path}/file/")


def test_reports_need_records_of_their_own_experiment(refused, tmp_path, pruned_run):
    folder = tmp_path / "reproduce_digits"
    folder.mkdir()
    shutil.copy(pruned_run / "record.json", folder / "records.jsonl")
    message = refused("report", f"runs_dir={tmp_path}", "experiment=digits")
    assert "holds records of experiment smoke, not digits; say experiment=NAME" in message
    assert sorted(file.name for file in folder.iterdir()) == ["records.jsonl"]


def _files(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*") if file.is_file()}
