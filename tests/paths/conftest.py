"""Two networks trained from different starts inside one mask, as run folders and as end points."""

import pytest

from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.sparsity.mask_files import load_masks
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from tests.training.problems import make_identity, make_network, make_pruning, make_settings, train


@pytest.fixture(scope="session")
def run_dirs(tmp_path_factory):
    """Folders of a pruned run, and of a scratch and a dense run from another start."""
    folder = tmp_path_factory.mktemp("ends")
    settings = make_settings(num_steps=150, learning_rate=0.3)
    pruning = make_pruning(start_step=20, end_step=80, update_every=10, sparsity=0.4)
    train(
        folder / "prune",
        method=pruning,
        settings=settings,
        identity=make_identity(run_id="P", method="prune", target_sparsity=0.4),
    )
    masks = load_masks(folder / "prune" / "masks.safetensors")
    train(
        folder / "scratch",
        method=GivenMask(masks=masks),
        network=make_network(seed=1),
        settings=settings,
        identity=make_identity(run_id="S", method="scratch", start="init/scratch"),
    )
    train(
        folder / "dense",
        network=make_network(seed=1),
        settings=settings,
        identity=make_identity(run_id="D2", start="init/scratch"),
    )
    return {name: folder / name for name in ("prune", "scratch", "dense")}


@pytest.fixture(scope="session")
def ends(run_dirs):
    """The ends of the scratch and the pruned run: where a path starts and where it ends."""
    return (
        load_end_point(run_dirs["scratch"], "end", name="scratch:end"),
        load_end_point(run_dirs["prune"], "end", name="prune:end"),
    )
