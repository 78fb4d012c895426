"""Claim C1 of rules 2: one climbs more inside the mask than in the dense space."""

from lightning_sparse.analysis.claim import Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import complete, missing_words
from lightning_sparse.analysis.experiment import QUADRATIC, ExperimentRecords, Route
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.measured_descents import (
    DESCENT_RULE,
    measure_descent,
    unrefined_remarks,
)
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question

CLAIM = Claim(
    name="C1",
    statement=(
        "From the scratch solution to the pruned one, the quadratic curve inside the mask climbs "
        "more than the quadratic curve in the dense space."
    ),
    rule=(
        f"{DESCENT_RULE} Per seed x = R of the quadratic curve inside the mask minus R of the one "
        "in the dense space, both from scratch:end to prune:end."
    ),
    unit="difference of the two R in nats; claimed above 0",
    side="above",
    scale="natural",
)

ROUTES = (
    Route("scratch:end", "prune:end", QUADRATIC, "sparse"),
    Route("scratch:end", "prune:end", QUADRATIC, "dense"),
)


def judge(
    experiment: ExperimentRecords, *, headline_sparsity: float, quantity: Quantity
) -> ClaimResult:
    """Compare the two quadratic curves within each seed."""
    return judge_mean(CLAIM, evidence(experiment, headline_sparsity, quantity))


def evidence(experiment: ExperimentRecords, sparsity: float, quantity: Quantity) -> Evidence:
    """Return the differences by seed."""
    found = {
        seed: [experiment.path(route, seed, sparsity) for route in ROUTES]
        for seed in experiment.seeds
    }
    pairs = {seed: present for seed, items in found.items() if (present := complete(items))}
    climbs = {
        seed: [measure_descent(path, quantity).descent.value for path in items]
        for seed, items in pairs.items()
    }
    paths = [path for items in pairs.values() for path in items]
    return Evidence(
        values={seed: sparse - dense for seed, (sparse, dense) in climbs.items()},
        on_objective={},
        records=[path.run_id for path in paths],
        missing=missing_words([experiment.label(route, sparsity) for route in ROUTES], found),
        remarks=unrefined_remarks(paths),
    )


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES),),
    judge=judge,
    controls=("control: dense", "control: in the mask"),
)
