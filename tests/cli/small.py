"""Experiments in small: as they stand, but for images, network, numbers of them, and the device."""

from pathlib import Path

from lightning_sparse.settings.compose import Composed, compose_settings

_TINY = [
    "data=synthetic",
    "+data.size=8",
    "+data.num_train=32",
    "+data.num_test=8",
    "num_workers=0",
    "training.num_steps=2",
    "pruning.start_step=0",
    "pruning.end_step=2",
    "pruning.update_every=1",
    "path.training.num_steps=2",
    "evaluation.batch_size=8",
    "evaluation.train_subset_size=8",
    "evaluation.num_points=2",
    "evaluation.lowest_t=0.0",
    "evaluation.highest_t=1.0",
    "evaluation.num_recalibration_images=8",
    "evaluation.recalibration_batch_size=8",
    "evaluation.max_refinements=0",
    "reproduce.seeds=[11]",
    "reproduce.further_seeds=[]",
    "reproduce.sparsities=[]",
    "reproduce.claims=[B,C,'control: dense',D1,D3]",
]


def in_small(experiment: str, runs_dir: Path, *overrides: str) -> Composed:
    """Compose an experiment of two steps and few images, on one CPU, with a narrow network.

    That of the overrides, if they say any; otherwise the experiment must be one of `ConvNet`.
    """
    settings = compose_settings([f"experiment={experiment}"])
    accumulated = settings.trainer.get("accumulate_grad_batches", 1)
    sizes = ["batch_size=4"]
    if settings.global_batch_size is not None:
        sizes.append(f"global_batch_size={4 * accumulated}")
    device = ["trainer.accelerator=cpu", "trainer.devices=1"]
    names = [f"experiment={experiment}", f"runs_dir={runs_dir}"]
    narrow = [] if any(word.startswith("model.") for word in overrides) else ["model.widths=[4,4]"]
    small = compose_settings([*names, *_TINY, *narrow, *sizes, *device, *overrides])
    assert small.trainer.get("accumulate_grad_batches", 1) == accumulated
    return small
