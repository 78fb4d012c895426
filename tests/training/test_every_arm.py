"""Every file in ``conf/method/``, trained once through the functions of the command line."""

import pkgutil

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.records import read_record
from lightning_sparse.settings.shipped import choices
from lightning_sparse.sparsity.regrowth import AbstractRegrowth
from tests.training.test_arms import make

# AC/DC's phases want a step each, N:M whole numbers of every four.
WORDS = ("distribution=uniform", "training.num_steps=20", "sparsity=0.75")


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    """One folder for all arms: what some need of others is trained once."""
    return tmp_path_factory.mktemp("arms")


# Controls are built like what they control (tests/execution/test_build.py), and told apart by
# their rule.
ARMS = [name for name in choices("method") if not name.endswith(("_shuffled", "_reinitialised"))]
# Of this network only one layer has groups of input channels, and widths are whole numbers;
# STR has hardly begun.
MISSES_BY = {"n_of_m": 0.5, "dense_small": 0.1, "str": 0.8}


def swaps_weights(method):
    """Whether it is a method that removes and grows, or goes around one."""
    swaps = issubclass(pkgutil.resolve_name(method["_target_"]), AbstractRegrowth)
    return swaps or ("method" in method and swaps_weights(method["method"]))


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_trains_and_says_so_in_its_record(runs_dir, name):
    run_dir, record = make(runs_dir, f"method={name}", *WORDS)
    assert record.arm == name
    assert record.kept == sum(layer.kept for layer in record.layers.values())
    # Zeros are rounded down in each layer, and GraNet's kept weights over all.
    excess = record.kept - (1 - record.target_sparsity) * record.prunable
    if name in MISSES_BY:
        assert abs(excess) < MISSES_BY[name] * record.prunable
    else:
        assert -1 < excess < len(record.layers)
    assert record.flops is not None
    # Of methods whose masks move, the share of weights that training has visited.
    visited = (record.observations or {}).get("share_ever_kept", 0.0)
    moves = swaps_weights(record.config["method"]["sparse_method"])
    assert (visited > record.kept / record.prunable) == moves
    assert read_record(run_dir) == record


def test_what_every_arm_left_agrees(runs_dir, capsys):
    assert main(["verify", str(runs_dir)]) == 0, capsys.readouterr()
