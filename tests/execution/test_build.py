import pytest
import torch

from lightning_sparse.data.source import ImageSource
from lightning_sparse.errors import UserError
from lightning_sparse.execution.build import build_data, build_method, build_network, build_object
from lightning_sparse.files.tensor_files import save_tensors
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.shipped import CONF_DIR
from lightning_sparse.sparsity.distributions import AbstractDistribution
from lightning_sparse.sparsity.mask_files import save_masks
from lightning_sparse.sparsity.method import AbstractSparseMethod

# A file that is added to conf/ is tried here or fails here.
DATA_FOR_MODEL = {
    "convnet": "digits",
    "lenet5": "digits28",
    "resnet50": "synthetic",
    "resnet_small": "digits",
}
NEEDS_FILES = {"cifar10", "cifar100", "idx_folder", "image_folder", "imagenet_ffcv"}
NEEDS_NO_FILES = {"digits", "digits28", "synthetic"}


def choices(group: str) -> list[str]:
    found = sorted(file.stem for file in (CONF_DIR / group).glob("*.yaml"))
    assert found
    return found


@pytest.mark.parametrize("name", choices("model"))
def test_every_model_is_built_for_its_data(name):
    settings = compose_settings([f"model={name}", f"data={DATA_FOR_MODEL[name]}"])
    source = build_object(settings.data, "data")
    network = build_network(settings, source)
    assert prunable_weights(network)


@pytest.mark.parametrize("name", choices("data"))
def test_every_data_set_is_built_or_says_that_its_files_are_missing(name, tmp_path):
    settings = compose_settings([f"data={name}"]).data
    if name in NEEDS_NO_FILES:
        assert isinstance(build_object(settings, "data"), ImageSource)
        return
    assert name in NEEDS_FILES
    with pytest.raises(UserError, match=str(tmp_path)):
        build_object({**settings, "root": str(tmp_path)}, "data")


@pytest.mark.parametrize("name", choices("distribution"))
def test_every_distribution_keeps_its_promise_of_sparsities(name):
    by_hand = ["+distribution.layers={a:0.5,b:0.948}", "distribution.otherwise=0.75"]
    overrides = [f"distribution={name}", *(by_hand if name == "by_layer" else [])]
    distribution = build_object(compose_settings(overrides).distribution, name)
    assert isinstance(distribution, AbstractDistribution)
    shapes = {"a": (16, 3, 3, 3), "b": (32, 16, 3, 3), "c": (10, 32)}
    assert all(0 <= value < 1 for value in distribution.layer_sparsities(shapes, 0.9).values())


@pytest.mark.parametrize("name", choices("method"))
def test_every_method_is_built_and_its_file_is_called_like_it(name, tmp_path):
    save_masks({"weight": torch.ones(2, 3, dtype=torch.bool)}, tmp_path / "masks.safetensors")
    save_tensors({"weight": torch.ones(2, 3)}, tmp_path / "weights.safetensors")
    # A sparsity of which whole numbers stay of every four.
    settings = compose_settings([f"method={name}", "sparsity=0.75"])
    assert settings.method.name == name
    assert isinstance(build_method(settings, tmp_path), AbstractSparseMethod)


def test_a_choice_that_a_method_does_not_have_is_refused_with_those_that_it_has(tmp_path):
    settings = compose_settings(["method=snip", "method.sparse_method.control=permuted"])
    with pytest.raises(UserError, match=r"^method\.control='permuted': choose one of none, shuf"):
        build_method(settings, tmp_path)


def test_arguments_of_what_a_method_is_made_of_are_looked_at_too(tmp_path):
    word = "method.sparse_method.swaps.rounding=sideways"
    settings = compose_settings(["method=set_itop", word])
    with pytest.raises(
        UserError, match=r"^method\.swaps\.rounding='sideways': choose one of down, up"
    ):
        build_method(settings, tmp_path)


def test_the_scratch_arm_starts_elsewhere_and_the_others_alike():
    def start(method):
        settings = compose_settings([f"method={method}"])
        network = build_network(settings, build_object(settings.data, "data"))
        return next(network.parameters())

    dense, prune, scratch = map(start, ("dense", "prune", "scratch"))
    assert torch.equal(dense, prune)
    assert not torch.equal(dense, scratch)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nowhere.Net", "model._target_=nowhere.Net: No module named 'nowhere'; name something"),
        ("torch.nn.Nothing", "model._target_=torch.nn.Nothing: No module named 'torch.nn.Nothing'"),
        ("builtins.dict", "model._target_=builtins.dict: "),
        ("math.pi", "model._target_=math.pi: "),
    ],
)
def test_a_model_that_is_none_is_refused_by_name(target, expected):
    settings = compose_settings([f"model._target_={target}"])
    with pytest.raises(UserError) as caught:
        build_network(settings, build_object(settings.data, "data"))
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert "HYDRA" not in str(caught.value)


def test_an_argument_that_a_model_does_not_take_is_refused_by_name():
    settings = compose_settings(["+model.colour=red"])
    with pytest.raises(UserError, match=r"ConvNet: got an unexpected keyword argument 'colour'"):
        build_network(settings, build_object(settings.data, "data"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nowhere.build", r"^data\._target_=nowhere\.build: No module named 'nowhere'"),
        ("builtins.dict", r"^data\._target_=builtins\.dict: gave a dict; it must return"),
    ],
)
def test_a_data_set_that_is_none_is_refused_by_name(target, expected):
    with pytest.raises(UserError, match=expected):
        build_data(compose_settings([f"data._target_={target}"]))
