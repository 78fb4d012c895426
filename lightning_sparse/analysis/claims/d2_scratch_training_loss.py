"""Claim D2: pruned, a network reaches a lower training loss than from scratch in its mask."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords

CLAIM = Claim(
    name="D2",
    statement="The pruned network reaches a lower training loss than the scratch network.",
    rule=(
        "Per seed x = mean cross-entropy on the training subset of prune:end minus that of "
        f"scratch:end. {INTERVAL_RULE.format(side='below')}"
    ),
    unit="difference of training losses in nats; claimed below 0",
    side="below",
    scale="natural",
)


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Compare the two end points within each seed."""
    return CLAIM.judge(evidence(experiment, headline_sparsity))


def evidence(experiment: ExperimentRecords, headline_sparsity: float) -> Evidence:
    """Return the differences by seed."""
    return run_evidence(
        experiment,
        ("prune:end", "scratch:end"),
        lambda pruned, scratch: pruned.train.loss - scratch.train.loss,
        sparsity=headline_sparsity,
        on_objective=lambda pruned, scratch: pruned.train.objective - scratch.train.objective,
    )
