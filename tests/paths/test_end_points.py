import shutil

import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors, save_tensors
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.sparsity.mask_files import load_masks, save_masks
from tests.training.problems import TinyNet, make_network


@pytest.fixture
def pruned(run_dirs, tmp_path):
    """A copy of the pruned run, to be damaged."""
    shutil.copytree(run_dirs["prune"], tmp_path / "prune")
    return tmp_path / "prune"


def load(run_dir, moment="end"):
    return load_end_point(run_dir, moment, name="prune:end")


def test_the_end_of_a_run_has_its_weights_and_masks(run_dirs):
    end = load(run_dirs["prune"])

    assert torch.equal(
        end.state["fc.weight"], load_tensors(run_dirs["prune"] / "weights.safetensors")["fc.weight"]
    )
    assert end.run.run_id == "P"
    assert all(torch.equal(end.state[name] != 0, mask) for name, mask in end.masks.items())


def test_the_start_of_a_run_has_its_start_weights(run_dirs):
    start = load(run_dirs["prune"], "start")

    assert torch.equal(start.state["conv2.weight"], make_network().conv2.weight)


def test_a_dense_run_has_no_masks(run_dirs):
    assert load(run_dirs["dense"]).masks is None


def test_the_buffers_are_those_of_the_network(run_dirs):
    buffers = load(run_dirs["prune"]).buffers(make_network())

    kinds = ("running_mean", "running_var", "num_batches_tracked")
    assert set(buffers) == {f"{norm}.{kind}" for norm in ("bn1", "bn2") for kind in kinds}
    assert buffers["bn1.num_batches_tracked"].item() == 150


def test_an_end_fits_its_own_network(run_dirs):
    load(run_dirs["prune"]).check_fits(make_network())


class Deeper(TinyNet):
    def __init__(self):
        super().__init__()
        self.extra = torch.nn.Linear(3, 3)


class Wider(TinyNet):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 4)


class WithoutStatistics(TinyNet):
    def __init__(self):
        super().__init__()
        self.bn2 = torch.nn.BatchNorm2d(5, track_running_stats=False)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Deeper, r"'extra.weight' is missing in the run, of shape \(3, 3\) in the model"),
        (Wider, r"'fc.weight' is of shape \(3, 5\) in the run, of shape \(4, 5\) in the model"),
        (WithoutStatistics, r"'bn2.num_batches_tracked' is of shape \(\) in the run, missing in"),
        (
            lambda: ConvNet(1, 3),
            r"prune:end \(run P\) does not fit the model ConvNet: 'features.0.we",
        ),
    ],
)
def test_an_end_of_another_architecture_is_refused(run_dirs, network, message):
    with pytest.raises(UserError, match=message):
        load(run_dirs["prune"]).check_fits(network())


def test_a_run_that_has_not_finished_is_refused(pruned):
    (pruned / "record.json").unlink()

    with pytest.raises(UserError, match=r"prune is not a finished run: it has no record.json; tra"):
        load(pruned)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere is not a finished run"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"kind": "run", "vers'])
def test_a_record_that_is_damaged_or_foreign_is_refused(pruned, content):
    (pruned / "record.json").write_bytes(content)

    with pytest.raises(UserError, match=r"record.json: not (JSON|a record)"):
        load(pruned)


@pytest.mark.parametrize("moment", ["start", "end"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(pruned, moment, share):
    file = pruned / ("start.safetensors" if moment == "start" else "weights.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(UserError, match=r"safetensors is damaged or not ours"):
        load(pruned, moment)


def test_weights_that_are_gone_are_refused(pruned):
    (pruned / "weights.safetensors").unlink()

    with pytest.raises(UserError, match=r"no file .*weights.safetensors"):
        load(pruned)


def test_a_foreign_checkpoint_is_refused(pruned):
    torch.save({"state_dict": {}}, pruned / "weights.safetensors")

    with pytest.raises(UserError, match=r"weights.safetensors is damaged or not ours"):
        load(pruned)


def test_a_mask_file_without_masks_is_refused(pruned):
    save_tensors({"conv1.weight": torch.zeros(3)}, pruned / "masks.safetensors")

    with pytest.raises(UserError, match=r"masks.safetensors does not hold masks"):
        load(pruned)


@pytest.mark.parametrize("kind", ["other counts", "other layers"])
def test_masks_of_another_run_are_refused(pruned, kind):
    masks = dict(load_masks(pruned / "masks.safetensors"))
    if kind == "other counts":
        masks["fc.weight"] = ~masks["fc.weight"]
    else:
        del masks["fc.weight"]
    save_masks(masks, pruned / "masks.safetensors")

    with pytest.raises(UserError, match=r"masks.safetensors: other layers or counts than in the r"):
        load(pruned)
