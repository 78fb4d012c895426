"""What each of several processes does in the tests of distributed runs: see test_ranks.py.

`run_rank` is called once per rank, in processes that are forked from one which has imported this
module; it sets the variables by which Lightning knows the ranks. Every rank seeds the global
generators otherwise, on purpose.
"""

import os
import random
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curvature import Curvature
from lightning_sparse.paths.curves import Bezier, Line
from lightning_sparse.paths.end_points import load_end_point
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.paths.rays import Ray, measured_gradient
from lightning_sparse.paths.run import PathIdentity, PathRun
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.sparsity.method import AbstractSparseMethod
from tests.faults.findings import IS_WHOLE
from tests.training.examples import EXAMPLES, one_of_each_kind
from tests.training.methods import AsksAtStart, GrowsByGradient
from tests.training.problems import (
    TinyNet,
    TwoLayers,
    make_data,
    make_identity,
    make_network,
    make_pruning,
    make_settings,
    train,
)

# 48 training and 21 test images: three and two batches, shared by two and by four ranks.
EVALUATION = EvaluationSettings(
    num_points=8, num_recalibration_images=48, recalibration_batch_size=16, max_refinements=2
)
IMAGES_PER_STEP = 8
CLIP_NORM = 1e-4


class WithDropout(TinyNet):
    """Draws from the global generator, of which every rank has its own."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.2)

    def forward(self, images):
        return self.dropout(super().forward(images))


@dataclass(frozen=True)
class DrawsItsMasks(AbstractSparseMethod):
    """What a method must not do: its masks come from the global generator."""

    def initial_masks(self, view):
        return view.masks

    def is_due(self, step):
        return step == 3

    def updated_masks(self, view):
        return {
            name: torch.rand(mask.shape, device=mask.device) > 0.5
            for name, mask in view.masks.items()
        }

    def target_sparsity(self, step):
        return 0.5


def connect(folder, degree, options):
    """Measure a line or fit a curve from the scratch run to the pruned one."""
    data = make_data(batch_size=IMAGES_PER_STEP // options["devices"])
    return PathRun(
        network=make_network(seed=7),
        data=data,
        start=load_end_point(folder / "dense", "end", name="dense:end"),
        end=load_end_point(folder / "prune", "end", name="prune:end"),
        curve=Bezier(degree) if degree > 1 else Line(),
        space="dense",
        settings=make_settings(num_steps=12, weight_decay=0.01),
        evaluation=EVALUATION,
        identity=PathIdentity(
            run_id=f"degree{degree}", experiment="tests", seed=1, target_sparsity=0.5
        ),
        run_dir=folder / f"degree{degree}",
        trainer_options=options,
    ).make()


def go_down(folder, options):
    """Measure a ray from the pruned solution."""
    end = load_end_point(folder / "prune", "end", name="prune:end")
    record = PathRun(
        network=make_network(seed=7), data=make_data(), start=end, end=end, curve=Line(),
        space="dense", ray=Ray(coordinates="outside"), run_dir=folder / "ray",
        settings=make_settings(), evaluation=EVALUATION, trainer_options=options,
        identity=PathIdentity(run_id="ray", experiment="tests", seed=1, target_sparsity=0.5),
    ).make()  # fmt: skip
    return [[point.t, point.train.loss, point.test.loss] for point in record.points]


def look_at_derivatives(folder, seen, device, options):
    """Differentiate once and twice, on this rank's share of the batches, and go down a ray."""
    seen["ray"] = go_down(folder, options)
    state = load_end_point(folder / "prune", "end", name="prune:end").state
    seen["gradient"] = measured_gradient(
        make_network(seed=7), state, make_data(), EVALUATION, device
    )
    network = make_network(seed=7)
    network.load_state_dict(state)
    curvature = Curvature(network.to(device).eval(), make_data().train_subset_batches())
    vector = np.linspace(-1, 1, curvature.num_coordinates)
    seen["curvature"] = torch.from_numpy(
        np.stack([curvature.hessian_times(vector), curvature.gauss_newton_times(vector)])
    )


def start_unlike_others(rank):
    random.seed(rank)
    np.random.seed(100 + rank)
    torch.manual_seed(1000 + rank)
    torch.set_num_threads(1)


def length_of(method):
    """Train for as long as the method is made for, if it says how long."""
    return {"num_steps": method.num_steps} if hasattr(method, "num_steps") else {}


def names_of_examples(world_size):
    """Name the methods that so many ranks train: on more than two, one of each kind is enough."""
    return [*EXAMPLES] if world_size <= 2 or IS_WHOLE else one_of_each_kind()


def look_at_views(run, seen, world_size):
    """Train a network without batch norm, whose statistics would be those of a rank."""
    for method in (GrowsByGradient(), AsksAtStart()):
        name = type(method).__name__
        run(name, method, TwoLayers)
        seen[f"view of {name}"] = method.seen
    for name in names_of_examples(world_size):
        method = EXAMPLES[name]
        run(name.replace(" ", "_"), method, settings=make_settings(**length_of(method)))


def main(folder, device):
    rank, world_size = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    start_unlike_others(rank)
    seen = {"device": device}
    # Said by name, so that a single rank forms a group too.
    ranks = {"accelerator": device, "devices": world_size, "strategy": "ddp"}

    def run(name, method=None, network_type=WithDropout, **options):
        network = make_network(network_type=network_type)
        record = train(
            folder / name,
            network=network,
            method=method,
            data=make_data(batch_size=IMAGES_PER_STEP // world_size),
            identity=make_identity(run_id=name),
            trainer_options={**ranks, **options.pop("trainer_options", {})},
            **options,
        )
        state = network.state_dict().items()
        seen[name] = {key: tensor.cpu().clone() for key, tensor in state}
        return record

    run("prune", make_pruning(), settings=make_settings(num_steps=20))
    run("dense", settings=make_settings(num_steps=20, learning_rate=0.05))
    look_at_views(run, seen, world_size)
    clipping = {"gradient_clip_norm": CLIP_NORM, "weight_decay": 0.0}
    run(
        "clipped",
        make_pruning(),
        settings=make_settings(num_steps=20, **clipping),
        trainer_options={"precision": "bf16-mixed"},
    )
    try:
        run("odd", DrawsItsMasks())
    except UserError as error:
        seen["odd"] = str(error)

    draws = []
    draw_t = PathModule.draw_t

    def spy(module, step):
        draws.append(draw_t(module, step))
        return draws[-1]

    PathModule.draw_t = spy
    for degree in (1, 2):
        record = connect(folder, degree, ranks)
        seen[f"degree{degree}"] = [
            [point.t, point.train.loss, point.test.loss, point.train.accuracy, point.test.accuracy]
            for point in record.points
        ]
    look_at_derivatives(folder, seen, torch.device(device), ranks)
    seen["fit_objective"] = record.fit_objective
    seen["draws"] = draws
    seen["backend"] = torch.distributed.get_backend()
    torch.save(seen, folder / f"rank{rank}.pt")


def run_rank(folder, device, rank, world_size, port):
    """Be one of the ranks; what is said goes to a file."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0", LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size), OMP_NUM_THREADS="1",
    )  # fmt: skip
    said = os.open(folder / f"rank{rank}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    warnings.filterwarnings("error", category=ResourceWarning)
    main(folder, device)
