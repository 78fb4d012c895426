import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_record
from lightning_sparse.sparsity.mask_files import load_masks, save_masks

CURVE = "smoke-S-end-to-P-end-degree2-*"
LINE = "smoke-L-start-to-P-end-line-*"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder with every arm, a line and a curve inside the mask."""
    folder = tmp_path_factory.mktemp("finished")
    words = ["experiment=smoke", f"runs_dir={folder}", "capture_steps=[2]"]
    for command in (
        ["train", "method=dense"],
        ["train", "method=lottery", "rewind_step=2"],
        ["line", "path.start=lottery:start", "rewind_step=2"],
        ["path"],
    ):
        assert main([*command[:1], *words, *command[1:]]) == 0
    return folder


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def verified(capsys):
    """Run the command; return its exit status and what it says is wrong."""

    def run(*folders) -> tuple[int, list[str]]:
        capsys.readouterr()
        status = main(["verify", *map(str, folders)])
        lines = capsys.readouterr().out.splitlines()
        return status, [line.partition(": WRONG: ")[2] for line in lines if ": WRONG: " in line]

    return run


def only(runs: Path, pattern: str) -> Path:
    (found,) = runs.glob(pattern)
    return found


def lottery(runs: Path) -> Path:
    return only(runs, "smoke-lottery-*")


def rewrite(run_dir: Path, name: str, change) -> None:
    """Change a file of tensors and leave no hashes that would tell."""
    tensors = load_file(run_dir / name)
    change(tensors)
    save_file(tensors, run_dir / name)
    (run_dir / "SHA256SUMS").unlink()


def rewrite_record(run_dir: Path, change) -> None:
    body = json.loads((run_dir / "record.json").read_text())
    change(body)
    (run_dir / "record.json").write_text(json.dumps(body))
    (run_dir / "SHA256SUMS").unlink()


def test_nothing_is_wrong_with_any_run_that_was_left_alone(finished, verified, capsys):
    num_runs = len(list(finished.glob("*/record.json")))
    assert num_runs >= 7
    assert verified(finished) == (0, [])
    main(["verify", *map(str, finished.glob("smoke-*"))])
    assert capsys.readouterr().out.splitlines()[-1] == f"{num_runs} checked, 0 wrong"


def test_the_hashes_can_be_checked_without_this_program(finished):
    for run_dir in finished.glob("smoke-*"):
        command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        subprocess.run(command, cwd=run_dir, check=True, capture_output=True)
        text = (run_dir / "SHA256SUMS").read_text()
        assert all(file.name in text for file in run_dir.iterdir() if file.name != "SHA256SUMS")


@pytest.mark.parametrize("pattern", ["smoke-lottery-*", "smoke-prune-*", CURVE, LINE])
def test_one_flipped_bit_in_any_file_is_found_and_the_file_named(runs, verified, pattern):
    run_dir = next(runs.glob(pattern))
    files = sorted(file for file in run_dir.iterdir() if file.name != "SHA256SUMS")
    assert files
    for file in files:
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[-3] ^= 1
        file.write_bytes(damaged)
        status, lines = verified(run_dir)
        assert status == 1
        assert f"{file.name}: is not the file that the run wrote" in lines[0]
        file.write_bytes(whole)
    assert verified(run_dir) == (0, [])


def test_files_that_are_missing_or_were_added_are_named(runs, verified):
    run_dir = lottery(runs)
    (run_dir / "history.jsonl").unlink()
    shutil.copy(run_dir / "weights.safetensors", run_dir / "weights_step_7.safetensors")
    assert verified(run_dir) == (
        1,
        [
            "history.jsonl: is missing, yet SHA256SUMS names it",
            "weights_step_7.safetensors: is not named in SHA256SUMS, so not written by this run",
        ],
    )


def test_hashes_never_name_a_file_of_another_folder(runs, verified):
    run_dir = lottery(runs)
    with (run_dir / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  ../{run_dir.name}/record.json\n")
    status, lines = verified(run_dir)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].endswith("is no hash and name of a file in this folder")


def test_a_run_of_an_earlier_version_has_no_hashes_which_is_said_and_no_fault(runs, capsys):
    run_dir = lottery(runs)
    (run_dir / "SHA256SUMS").unlink()
    assert main(["verify", str(run_dir)]) == 0
    assert "intact, by its record alone: it has no SHA256SUMS" in capsys.readouterr().out


def set_one_masked_weight(run_dir: Path):
    name, mask = next(
        (n, m) for n, m in load_masks(run_dir / "masks.safetensors").items() if not m.all()
    )

    def change(tensors):
        place = tuple((~mask).nonzero()[0].tolist())
        tensors[name][place] = 1e-30

    return change


@pytest.mark.parametrize("name", ["weights.safetensors", "start.safetensors"])
def test_a_masked_weight_that_is_not_zero_is_found_without_hashes(runs, verified, name):
    run_dir = lottery(runs)
    rewrite(run_dir, name, set_one_masked_weight(run_dir))
    status, lines = verified(run_dir)
    assert status == 1
    assert any(
        line.startswith(f"{name}: 'features.") and "1 masked weights that are not zero" in line
        for line in lines
    )


def test_masks_of_other_counts_than_recorded_are_found(runs, verified):
    run_dir = next(runs.glob("smoke-prune-*"))
    masks = dict(load_masks(run_dir / "masks.safetensors"))
    name = next(name for name, mask in masks.items() if not mask.all())
    kept = int(masks[name].sum())
    masks[name].view(-1)[(~masks[name]).flatten().nonzero()[0]] = True
    save_masks(masks, run_dir / "masks.safetensors")
    (run_dir / "SHA256SUMS").unlink()
    status, lines = verified(run_dir)
    assert status == 1
    assert f"keeps {kept} of {masks[name].numel()} weights of {name!r}" in lines[0]
    assert f"masks.safetensors keeps {kept + 1} of" in lines[0]
    assert "weights in all" in lines[1]


def test_masks_moved_within_a_layer_are_found_by_the_pruned_run_beside_it(runs, verified):
    run_dir = lottery(runs)
    masks = dict(load_masks(run_dir / "masks.safetensors"))
    name = next(name for name, mask in masks.items() if not mask.all())
    rolled = masks[name].flatten().roll(1).view_as(masks[name])
    save_masks({**masks, name: rolled}, run_dir / "masks.safetensors")
    (run_dir / "SHA256SUMS").unlink()
    status, lines = verified(run_dir)
    assert status == 1
    assert any(
        line.startswith("masks.safetensors: has other masks than smoke-prune-") for line in lines
    )


def test_a_lottery_run_that_did_not_start_from_its_pruned_run_is_found(runs, verified):
    run_dir = lottery(runs)
    rewrite(run_dir, "start.safetensors", lambda tensors: tensors["classifier.bias"].add_(1))
    status, lines = verified(run_dir)
    assert status == 1
    assert lines[0].startswith(
        "start.safetensors: is not weights_step_2.safetensors of smoke-prune-"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body.update(kept=1), "record.json: keeps 1 of"),
        (lambda body: body["config"].update(batch_size=65), "by its recorded settings it is"),
        (lambda body: body.update(seed=99), "config has seed=11, the record's own"),
        (lambda body: body["config"].pop("training"), "config has training.num_steps=None"),
        (lambda body: body.update(config={}), "config lacks settings"),
        (lambda body: body["config"].update(training=3, method=[]), "config lacks settings"),
        (lambda body: body.pop("kept"), "field 'kept' is missing"),
        (lambda body: body.update(run_id="../../etc"), "is not the plain name of a folder"),
        (lambda body: body.update(run_id="smoke-lottery-x"), "run_id=smoke-lottery-x, by its"),
        (lambda body: body["layers"].clear(), "record.json: keeps 0 of 0 weights of"),
        (lambda body: body["config"].update(capture_steps=[5]), "no file"),
    ],
)  # fmt: skip
def test_a_record_that_was_changed_is_found_without_hashes(runs, verified, change, said):
    run_dir = lottery(runs)
    rewrite_record(run_dir, change)
    status, lines = verified(run_dir)
    assert status == 1
    assert any(said in line for line in lines), lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda points: points["0/classifier.bias"].add_(1), "0 is not the end of smoke-scratch-"),
        (lambda points: points["2/classifier.bias"].add_(1), "2 is not the end of smoke-prune-"),
        (lambda points: points["1/classifier.bias"].add_(1), "the control points' is"),
        (lambda points: points["1/features.3.weight"].add_(1), "1: 'features.3.weight' has"),
        (lambda points: points.update({"1/classifier.bias": torch.zeros(2)}), "different shape"),
        (lambda points: points.update({"3/classifier.bias": torch.zeros(2)}), "3, not 0 to 2"),
    ],
)  # fmt: skip
def test_a_curve_that_does_not_belong_to_its_ends_or_its_mask_is_found(
    runs, verified, change, said
):
    run_dir = only(runs, CURVE)
    rewrite(run_dir, "control_points.safetensors", change)
    status, lines = verified(run_dir)
    assert status == 1
    assert any(said in line for line in lines), lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body["points"].reverse(), "its points are not in increasing t"),
        (lambda body: body.update(length=0.0), "is below the distance"),
        (lambda body: body.update(curve="cubic curve"), "config has a quadratic curve"),
        (lambda body: body.update(fit_objective=None), "yet has no fit_objective"),
        (lambda body: body.update(space="dense"), "config has path.space='end_mask'"),
        (lambda body: body.update(start_run="elsewhere"), "by its recorded settings it is"),
    ],
)  # fmt: skip
def test_a_path_record_that_was_changed_is_found_without_hashes(runs, verified, change, said):
    run_dir = only(runs, CURVE)
    rewrite_record(run_dir, change)
    status, lines = verified(run_dir)
    assert status == 1
    assert any(said in line for line in lines), lines


def test_a_path_alone_is_checked_without_its_runs(runs, verified, tmp_path):
    alone = tmp_path / "alone" / "curve"
    shutil.copytree(only(runs, CURVE), alone)
    assert verified(alone) == (0, [])


def test_a_damaged_end_is_named_where_the_path_is_checked(runs, verified):
    run_dir = only(runs, CURVE)
    (runs / read_record(run_dir).end_run / "weights.safetensors").write_bytes(b"")
    status, lines = verified(run_dir)
    assert status == 1
    assert lines[0].startswith("cannot be compared with smoke-prune-")


def test_an_unfinished_run_that_still_has_hashes_is_wrong(runs, verified):
    (lottery(runs) / "record.json").unlink()
    status, lines = verified(lottery(runs))
    assert status == 1
    assert lines[0] == "record.json: is missing, yet SHA256SUMS names it"


def test_what_is_shown_cannot_steer_a_terminal(runs, capsys):
    red = Path(shutil.copytree(lottery(runs), runs / "\x1b[31mred"))
    (red / "record.json").unlink()
    assert main(["verify", str(red)]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[31mred: WRONG: " in shown


def test_a_command_without_anything_to_check_says_what_to_name(tmp_path, refused):
    assert refused("verify").startswith("verify what? name run folders")
    assert "there is no such folder" in refused("verify", str(tmp_path / "none"))
    assert "holds no record.json, so no finished run" in refused("verify", str(tmp_path))
    assert "unknown option '--all'; a folder" in refused("verify", "--all")


def test_a_scratch_run_that_starts_where_the_pruned_one_did_is_found(runs, verified):
    scratch = only(runs, "smoke-scratch-*")
    pruned = runs / read_record(scratch).mask_source
    masks = load_masks(scratch / "masks.safetensors")
    start = load_file(pruned / "start.safetensors")

    def take(tensors):
        tensors |= {name: start[name] * mask for name, mask in masks.items()}

    rewrite(scratch, "start.safetensors", take)
    status, lines = verified(scratch)
    assert status == 1
    assert any(
        f"holds the weights that {run.name} starts from, though it is from init/scratch" in line
        for line in lines
        for run in runs.glob("smoke-*")
    )
    (line,) = verified(only(runs, CURVE))[1]
    assert "start with the same weights: the network's constructor seeds itself" in line


def test_statistics_that_are_not_recalibrated_as_the_record_says_are_found(runs, verified):
    curve = only(runs, CURVE)
    pruned = read_record(runs / read_record(curve).end_run)

    def measure_with_own(body):
        (end,) = [point for point in body["points"] if point["t"] == 1.0]
        end["test"] = dataclasses.asdict(pruned.test)

    rewrite_record(curve, measure_with_own)
    (line,) = verified(curve)[1]
    assert f"recalibrated, yet at t = 1 its numbers are those of {pruned.run_id}" in line

    dense = only(runs, "smoke-dense-*")
    record = json.loads((dense / "record.json").read_text())
    assert not verified(dense)[1]
    record["config"]["recalibrate_batch_norm"] = True
    (dense / "record.json").write_text(json.dumps(record))
    assert any("batches, by the record of" in line for line in verified(dense)[1])


STANDARDISED = """
from torch import nn

from lightning_sparse.models.convnet import ConvNet


class Standardised(nn.Conv2d):
    def forward(self, images):
        return self._conv_forward(images, self.weight - self.weight.mean(), None)


class Net(ConvNet):
    def __init__(self, in_channels, num_classes, widths):
        super().__init__(in_channels, num_classes, widths)
        for layer in self.features[::3]:
            layer.__class__ = Standardised
"""


def test_a_network_in_which_masks_do_not_act_is_found_once_it_is_built(
    runs, verified, tmp_path, monkeypatch
):
    (tmp_path / "other_version.py").write_text(STANDARDISED)
    monkeypatch.syspath_prepend(tmp_path)
    scratch = only(runs, "smoke-scratch-*")
    assert verified("--build", scratch) == (0, [])

    def name_another(body):
        body["config"]["model"]["_target_"] = "other_version.Net"

    rewrite_record(scratch, name_another)
    assert not any("masks" in line for line in verified(scratch)[1])
    masks = verified("--build", scratch)[1][-1]
    assert masks.startswith("its masks have no effect")
    assert "features.3.weight" in masks


def test_statistics_with_which_the_record_was_not_made_show_in_the_loss(runs, verified):
    dense = only(runs, "smoke-dense-*")
    rewrite(dense, "weights.safetensors", lambda state: state["features.10.running_mean"].add_(9.0))
    assert verified(dense)[0] == 0
    (line,) = verified("--build", dense)[1]
    assert "the loss on the test set is" in line


def test_a_network_that_cannot_be_built_any_more_is_said(runs, verified):
    scratch = only(runs, "smoke-scratch-*")
    rewrite_record(scratch, lambda body: body["config"]["model"].update(_target_="gone.Net"))
    assert verified("--build", scratch)[1][-1].startswith(
        "its network cannot be built: model._target_"
    )
