"""Which runs of which arms are set beside each other. No torch in here."""

from collections.abc import Sequence

from lightning_sparse.arms import Arm
from lightning_sparse.errors import UserError
from lightning_sparse.planning import reproduce
from lightning_sparse.planning.runs import plan_training
from lightning_sparse.settings.arms import arms, unmasked
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.variants import with_arm


def plan_all(settings: Composed) -> list[Job]:
    """Plan every arm on every report seed, those with masks at every sparsity."""
    plan, without_masks = settings.reproduce, unmasked(settings)
    jobs = [
        plan_training(with_arm(settings, arm, {"seed": seed, "sparsity": sparsity}))
        for arm in settings.methods.arms
        for sparsity in (
            [settings.sparsity] if arm in without_masks else [settings.sparsity, *plan.sparsities]
        )
        for seed in [*plan.seeds, *plan.further_seeds]
    ]
    return list({job.run_id: job for job in jobs}.values())


def by_depth(names: Sequence[str], known: dict[str, Arm]) -> list[list[str]]:
    """Group arms: those that need no other's run first, then those that need these, and so on."""

    def depth(name: str) -> int:
        sources = [point.run for point in known[name].sources if point.run in known]
        return 1 + max(map(depth, sources)) if sources else 0

    depths = {name: depth(name) for name in names}
    return [[n for n in names if depths[n] == level] for level in sorted(set(depths.values()))]


def check(settings: Composed) -> None:
    """Refuse arms that are none, and seeds that the settings are tuned on."""
    reproduce.check(settings)
    names, known = settings.methods.arms, arms(settings)
    if not names:
        raise UserError(
            "methods.arms=[]: name what is set beside each other, for example "
            "methods.arms=[dense,prune,rigl], or an experiment that does: experiment=digits_methods"
        )
    for name in names:
        if name not in known:
            raise UserError(f"methods.arms: {name}: choose of {', '.join(known)}")
