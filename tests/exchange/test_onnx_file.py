import onnx
import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.exchange import onnx_file
from lightning_sparse.exchange.onnx_file import check_onnx, onnx_bytes, require_onnx
from lightning_sparse.models.convnet import ConvNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = ConvNet(1, 10, widths=(4, 4, 4))
    network.train()(torch.randn(16, 1, 8, 8))  # statistics that are not those of the start
    with torch.no_grad():
        network.classifier.weight[:, ::2] = 0
    return network.eval()


@pytest.fixture(scope="module")
def content(network):
    return onnx_bytes(network, torch.randn(2, 1, 8, 8))


def test_the_file_gives_the_logits_of_the_network_for_batches_of_any_size(network, content):
    batches = [torch.randn(size, 1, 8, 8) for size in (1, 2, 7)]
    assert check_onnx(content, network, batches) < 1e-6


def test_the_file_is_whole_names_its_ends_and_keeps_masked_weights_at_zero(network, content):
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [item.version for item in model.opset_import if not item.domain] == [onnx_file.OPSET]
    [images], [logits] = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    sizes = [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, 8, 8]
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    assert (weights["classifier.weight"][:, ::2] == 0).all()
    assert (weights["classifier.weight"] == network.classifier.weight.detach().numpy()).all()


def test_the_file_does_not_tell_where_it_was_made(content):
    assert b"convnet.py" not in content
    assert b"site-packages" not in content


def test_a_network_that_is_not_the_one_in_the_file_is_found(network, content):
    other = ConvNet(1, 10, widths=(4, 4, 4))
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.classifier.bias[3] += 0.01
    with pytest.raises(
        UserError, match=r"logits differ by .* more than 1e-04; nothing was written"
    ):
        check_onnx(content, other, [torch.randn(3, 1, 8, 8)])


def test_a_file_that_is_none_is_one_line(network):
    with pytest.raises(UserError, match="the ONNX file cannot be loaded by onnxruntime: "):
        check_onnx(b"nothing", network, [torch.randn(1, 1, 8, 8)])


class Branches(nn.Module):
    def forward(self, images):
        return images.sum((2, 3)) if images.mean() > 0 else images.amax((2, 3))


def test_a_network_that_onnx_cannot_express_is_one_line():
    with pytest.raises(UserError, match=r"export\.format=onnx: ") as caught:
        onnx_bytes(Branches(), torch.randn(2, 1, 8, 8))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("export.format=csr needs no graph of the network")


def test_packages_that_are_missing_are_named_with_how_to_get_them(monkeypatch):
    monkeypatch.setattr(onnx_file, "_NEEDED", ("onnx", "no_such_one", "nor_this"))
    with pytest.raises(UserError) as caught:
        require_onnx()
    assert str(caught.value).startswith("export.format=onnx needs no_such_one, nor_this, which are")
    assert "pip install 'lightning-sparse[onnx]'" in str(caught.value)
