"""Experiments in small: as they stand, but for images, network, numbers of them, and the device."""

from pathlib import Path

from lightning_sparse.cli.compose import Settings, compose_settings

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
    "reproduce.lines=[{start: S-end, end: P-end}]",
]
_NARROW = {
    "convnet": ["model.widths=[4,4]"],
    "resnet": ["model=resnet_small", "model.width_multiplier=0.03125", "+model.layers=[1,1,1,1]"],
}


def in_small(experiment: str, runs_dir: Path, *overrides: str) -> Settings:
    """Compose an experiment of two steps and few images, with a narrow network on one CPU."""
    settings = compose_settings([f"experiment={experiment}"])
    accumulated = settings["trainer"].get("accumulate_grad_batches", 1)
    kind = "resnet" if "resnet" in settings["model"]["_target_"] else "convnet"
    sizes = ["batch_size=4"]
    if settings["global_batch_size"] is not None:
        sizes.append(f"global_batch_size={4 * accumulated}")
    device = ["trainer.accelerator=cpu", "trainer.devices=1"]
    names = [f"experiment={experiment}", f"runs_dir={runs_dir}"]
    small = compose_settings([*names, *_TINY, *_NARROW[kind], *sizes, *device, *overrides])
    assert small["trainer"].get("accumulate_grad_batches", 1) == accumulated
    return small
