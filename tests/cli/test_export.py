import onnxruntime
import pytest
import torch

from lightning_sparse.cli import export
from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.exchange.csr import read_csr
from lightning_sparse.execution.build import build_data, build_network
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.mask_files import load_masks


def words(run, *others):
    return ["export", "experiment=smoke", f"export.run={run}", *others]


def test_a_run_as_onnx_gives_the_logits_of_its_own_network(pruned_run, tmp_path, capsys):
    out = tmp_path / "here" / "net.onnx"
    assert main(words(pruned_run, f"export.out={out}", "export.num_images=40")) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: {out.stat().st_size:,} bytes; opset 18, any number of images")
    assert "the logits of 40 test images differ by" in said

    settings = compose_settings(["experiment=smoke"])
    data = build_data(settings)
    network = build_network(settings, data.source).eval()
    network.load_state_dict(load_tensors(pruned_run / "weights.safetensors"))
    images, _ = next(iter(data.test_batches()))
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {"images": images[:5].numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(images[:5]))
    assert [file.name for file in out.parent.iterdir()] == ["net.onnx"]


def test_a_run_as_csr_is_read_back_as_the_run_left_it(pruned_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words(pruned_run, "export.format=csr")) == 0
    network = read_csr(tmp_path / "exports" / f"{pruned_run.name}.csr.safetensors")
    state = load_tensors(pruned_run / "weights.safetensors")
    masks = load_masks(pruned_run / "masks.safetensors")
    back = network.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    # The smoke experiment leaves the first layer dense.
    assert set(network.layers) == set(masks) - {"features.0.weight"}
    assert all(torch.equal(mask, masks[name]) for name, mask in network.masks().items())
    assert "4 weights as CSR, kept 3,575 of 34,284; read back" in capsys.readouterr().out


def test_what_does_not_give_the_same_outputs_is_not_written(
    pruned_run, tmp_path, monkeypatch, refused
):
    for name in ("check_onnx", "check_csr"):

        def differs(*_, name=name):
            raise UserError(f"{name} found a difference")

        monkeypatch.setattr(export, name, differs)
        form = name.removeprefix("check_")
        out = tmp_path / form / "net"
        message = refused(*words(pruned_run, f"export.format={form}", f"export.out={out}"))
        assert message == f"{name} found a difference"
        assert not out.parent.exists()


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), "export.run is not given; name a finished run: export.run=runs/NAME"),
        (("export.run=nowhere",), "nowhere is not a finished run: it has no record.json"),
        (("export.format=tflite",), "export.format=tflite: choose one of onnx, csr"),
        (("export.num_images=0",), "export.num_images=0: must be at least 1"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(refused, others, expected):
    assert expected in refused("export", "experiment=smoke", *others)


def test_a_run_of_another_network_is_refused_with_its_own(narrow_run, refused, tmp_path):
    message = refused(*words(narrow_run, f"export.out={tmp_path}/x"))
    assert f"export.run={narrow_run}: was trained with model=" in message
    assert "'widths': [4, 4, 4]" in message
    assert main(words(narrow_run, f"export.out={tmp_path}/x", "model.widths=[4,4,4]")) == 0


def test_a_dense_run_has_nothing_to_compress(dense_run, refused):
    message = refused(*words(dense_run, "export.format=csr"))
    assert message.startswith(f"export.run={dense_run}: keeps all its weights, so that nothing")
