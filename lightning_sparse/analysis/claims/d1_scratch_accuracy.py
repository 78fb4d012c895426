"""Claim D1: pruned, a network is more accurate than trained from scratch in its mask."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords

CLAIM = Claim(
    name="D1",
    statement="On the test set the pruned network is more accurate than the scratch network.",
    rule=(
        "Per seed x = test accuracy of prune:end minus that of scratch:end. "
        f"{INTERVAL_RULE.format(side='above')}"
    ),
    unit="difference of test accuracies, each in [0, 1]; claimed above 0",
    side="above",
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
        lambda pruned, scratch: pruned.test.accuracy - scratch.test.accuracy,
        sparsity=headline_sparsity,
    )
