"""Every method of the package in small, for tests that hold for all of them."""

import importlib
import pkgutil

from lightning_sparse.sparsity import methods
from lightning_sparse.sparsity.distributions import ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.growth import SmallestGradient
from lightning_sparse.sparsity.method import AbstractSparseMethod
from lightning_sparse.sparsity.methods.acdc import ACDC
from lightning_sparse.sparsity.methods.burst import Burst
from lightning_sparse.sparsity.methods.dense import Dense
from lightning_sparse.sparsity.methods.dsr import DSR
from lightning_sparse.sparsity.methods.fading_burst import FadingBurst
from lightning_sparse.sparsity.methods.given_mask import GivenMask
from lightning_sparse.sparsity.methods.gradual_random import GradualRandom
from lightning_sparse.sparsity.methods.granet import GraNet
from lightning_sparse.sparsity.methods.grasp import GraSP
from lightning_sparse.sparsity.methods.ham import HAM
from lightning_sparse.sparsity.methods.magnitude_round import MagnitudeRound
from lightning_sparse.sparsity.methods.n_of_m import NOfM
from lightning_sparse.sparsity.methods.narrow import Narrow
from lightning_sparse.sparsity.methods.powerpropagation import Powerpropagation
from lightning_sparse.sparsity.methods.random_mask import RandomMask
from lightning_sparse.sparsity.methods.regrowth_from import RegrowthFrom
from lightning_sparse.sparsity.methods.rigl import RigL
from lightning_sparse.sparsity.methods.s2_sam import S2SAM
from lightning_sparse.sparsity.methods.scaled_start import ScaledStart
from lightning_sparse.sparsity.methods.set import SET
from lightning_sparse.sparsity.methods.snfs import SNFS
from lightning_sparse.sparsity.methods.snip import SNIP
from lightning_sparse.sparsity.methods.soft_threshold import STR
from lightning_sparse.sparsity.methods.sparse_momentum import SparseMomentum
from lightning_sparse.sparsity.methods.synflow import SynFlow
from lightning_sparse.sparsity.methods.top_kast import TopKAST
from lightning_sparse.sparsity.regrowth import SwapSchedule
from tests.training.problems import make_masks, make_pruning

RANDOM = {"sparsity": 0.6, "distribution": ErdosRenyiKernel()}
SWAPS = SwapSchedule(end_step=10, update_every=2)
ITOP = SwapSchedule(
    end_step=12, update_every=3, drop_fraction=0.5, final_drop_fraction=0.005, rounding="up"
)

# For twelve steps of `tests.training.problems.TinyNet`.
EXAMPLES = {
    "dense": Dense(),
    "given mask": GivenMask(masks=make_masks()),
    "gradual magnitude": make_pruning(),
    "gradual magnitude of all": make_pruning(distribution=None),
    "gradual random": GradualRandom(
        sparsity=0.5, start_step=2, end_step=7, update_every=2, distribution=Uniform()
    ),
    "ACDC": ACDC(sparsity=0.6, prune_at=[0.25, 0.75], free_at=[0.5], num_steps=8),
    "random mask": RandomMask(sparsity=0.6, distribution=Uniform()),
    "SET": SET(**RANDOM, swaps=SWAPS),
    "SET as ITOP": SET(**RANDOM, swaps=ITOP),
    "RigL": RigL(**RANDOM, swaps=SWAPS),
    "round of pruning": MagnitudeRound(
        masks=make_masks(), weights={n: m.float() for n, m in make_masks().items()}
    ),
    "narrow": Narrow(sparsity=0.6, distribution=Uniform()),
    "RigL as ITOP": RigL(**RANDOM, swaps=ITOP, replaces_update=False),
    "RigL inverted": RigL(
        sparsity=0.6,
        distribution=Uniform(),
        swaps=SWAPS,
        growth=SmallestGradient(),
        regrow="forbidden",
    ),
    "SNFS": SNFS(**RANDOM, swaps=SWAPS),
    "sparse momentum": SparseMomentum(**RANDOM, swaps=ITOP),
    "DSR": DSR(**RANDOM, swaps=SWAPS, threshold=0.05),
    "GraNet": GraNet(**RANDOM, start_step=2, end_step=6, swaps=SWAPS),
    "powerpropagation": Powerpropagation(
        sparsity=0.5, start_step=2, end_step=7, update_every=2, distribution=None, exponent=2.0
    ),
    "Top-KAST": TopKAST(**RANDOM, backward_sparsity=0.3, update_every=2),
    "N of M": NOfM(sparsity=0.5, group=4),
    "RigL with HAM": HAM(method=RigL(**RANDOM, swaps=SWAPS), alpha=2.0),
    "RigL from given masks": RegrowthFrom(method=RigL(**RANDOM, swaps=SWAPS), masks=make_masks()),
    "burst": Burst(masks=make_masks(), num_steps=12, returns_to="largest"),
    "burst that fades": FadingBurst(masks=make_masks(), num_steps=12),
    "RigL from a scaled start": ScaledStart(method=RigL(**RANDOM, swaps=SWAPS)),
    "STR": STR(sparsity=0.6, decay=0.2, initial=-3.0),
    "S2-SAM": S2SAM(method=make_pruning(), num_steps=8, radius=0.2),
    "S2-SAM unmasked": S2SAM(
        method=RandomMask(sparsity=0.6, distribution=Uniform()),
        num_steps=8,
        radius=0.2,
        masked=False,
    ),
    "SNIP": SNIP(sparsity=0.6),
    "SNIP per layer": SNIP(**RANDOM, training=True, num_batches=2, control="shuffled"),
    "GraSP": GraSP(sparsity=0.6, control="reinitialised"),
    "SynFlow": SynFlow(sparsity=0.6, num_rounds=5),
}


def method_types():
    """Find the methods of the package."""
    modules = [
        importlib.import_module(f"{methods.__name__}.{module.name}")
        for module in pkgutil.iter_modules(methods.__path__)
    ]
    return {
        item
        for module in modules
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, AbstractSparseMethod)
        and item.__module__ == module.__name__
    }


def one_of_each_kind() -> list[str]:
    """Name an example for each set of a method's answers that are its own and no default."""
    asked = [name for name in vars(AbstractSparseMethod) if not name.startswith("_")]
    first: dict[frozenset[str], str] = {}
    for name, method in EXAMPLES.items():
        own = frozenset(
            question
            for question in asked
            if getattr(type(method), question, None) is not getattr(AbstractSparseMethod, question)
        )
        first.setdefault(own, name)
    return list(first.values())
