"""How numbers are computed: the switches on any machine, and what they do where there is a GPU."""

import contextlib
import os

import pytest
import torch
from torch.utils import deterministic

from lightning_sparse.errors import UserError
from lightning_sparse.models.resnet import build_resnet50
from lightning_sparse.training.numerics import (
    accelerator_of,
    at_least_single,
    is_deterministic,
    measured_dtype,
    set_deterministic,
    true_single_precision,
)

CPU, CUDA = {"accelerator": "cpu"}, {"accelerator": "cuda"}


@pytest.mark.parametrize(
    ("setting", "options", "expected"),
    [
        (None, CPU, False),
        (None, CUDA, True),
        (False, CUDA, False),
        (True, CPU, True),
        (None, {**CUDA, "deterministic": False}, False),
        (False, {**CUDA, "deterministic": True}, True),
        (None, {**CPU, "deterministic": "warn"}, "warn"),
        (False, {**CUDA, "benchmark": True}, False),
    ],
)
def test_a_gpu_is_deterministic_unless_something_else_is_said(setting, options, expected):
    assert is_deterministic(setting, options) == expected


def test_choosing_algorithms_by_their_speed_contradicts_it():
    with pytest.raises(UserError, match=r"trainer.benchmark=true: .* or say deterministic=false"):
        is_deterministic(None, {**CUDA, "benchmark": True})


def test_the_accelerator_is_the_one_that_lightning_takes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [accelerator_of({"accelerator": name}) for name in ("auto", "gpu", "cpu")] == [
        "cuda", "cuda", "cpu",
    ]  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [accelerator_of({"accelerator": name}) for name in ("auto", None, "mps")] == [
        "cpu", "cpu", "mps",
    ]  # fmt: skip


@pytest.mark.parametrize("said", [None, ":0:0", ":16:8"])
def test_torch_and_cublas_are_told_by_the_program(monkeypatch, said):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if said is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", said)
    torch.backends.cudnn.benchmark = True

    set_deterministic(True)

    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert not deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (":16:8" if said == ":16:8" else ":4096:8")


def test_a_run_that_does_not_ask_for_it_is_not_bound_by_the_one_before():
    set_deterministic(True)
    set_deterministic(False)

    assert not torch.are_deterministic_algorithms_enabled()


def switches():
    """What torch says of the precision of products, by its newer names and by the older ones."""
    backends = torch.backends
    newer = [
        place.fp32_precision
        for backend in (backends.cudnn, backends.mkldnn)
        for place in (backend.conv, backend.rnn)
    ]
    return [
        *newer,
        backends.cuda.matmul.fp32_precision,
        backends.mkldnn.matmul.fp32_precision,
        backends.cuda.matmul.allow_tf32,
        backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    ]


def as_torch_comes():
    pass


def high_by_the_older_name():
    torch.set_float32_matmul_precision("high")


def nothing_in_tf32():
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture
def switches_restored():
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.mkldnn.matmul.fp32_precision = "none"


@pytest.mark.usefixtures("switches_restored")
@pytest.mark.parametrize("prepare", [as_torch_comes, high_by_the_older_name, nothing_in_tf32])
@pytest.mark.parametrize("fails", [False, True])
def test_measuring_is_in_single_precision_and_what_held_before_holds_again(prepare, fails):
    prepare()
    before = switches()
    with contextlib.suppress(ZeroDivisionError), true_single_precision():
        inside = switches()
        1 // (not fails)

    assert inside == [*["ieee"] * 6, False, False, "highest"]
    assert switches() == before


@pytest.mark.usefixtures("switches_restored")
@pytest.mark.parametrize("prepare", [as_torch_comes, high_by_the_older_name, nothing_in_tf32])
def test_tf32_is_for_those_who_ask_for_it(prepare):
    prepare()
    before = switches()

    with true_single_precision(unless_tf32=True):
        inside = switches()

    assert inside[:2] == ["tf32", "tf32"]
    assert inside[4] == "tf32"
    assert inside[6:] == [True, True, "high"]
    assert switches() == before


@pytest.mark.gpu
@pytest.mark.usefixtures("switches_restored")
def test_logits_are_those_of_single_precision_and_with_tf32_they_are_not():
    network = build_resnet50().cuda().eval()
    images = torch.randn(16, 3, 224, 224, generator=torch.Generator().manual_seed(0)).cuda()

    def logits():
        with torch.no_grad():
            return network(images).double()

    with true_single_precision():
        single = logits()
    with true_single_precision(unless_tf32=True):
        tf32 = logits()
    with torch.no_grad():
        exact = network.double()(images.double())

    def off(measured):
        return float((measured - exact).norm() / exact.norm())

    assert off(single) < 2e-5
    assert off(single) < off(tf32)


def test_half_precision_is_kept_in_single_and_nothing_else_changes():
    state = {
        "half": torch.tensor([1.5, 2.0**-14], dtype=torch.float16),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(3),
    }

    kept = at_least_single(state)

    assert {name: item.dtype for name, item in kept.items()} == {
        "half": torch.float32, "double": torch.float64, "count": torch.int64,
    }  # fmt: skip
    assert all(torch.equal(kept[name].to(item.dtype), item) for name, item in state.items())


@pytest.mark.parametrize("precision", [None, 32, "32-true", "bf16-mixed", "16-true"])
def test_everything_but_double_is_measured_in_single_precision(precision):
    assert measured_dtype(precision) == torch.float32
