"""Claim D3: pruned, a network is more accurate than its lottery ticket."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords

CLAIM = Claim(
    name="D3",
    statement="On the test set the pruned network is more accurate than the lottery network.",
    rule=(
        "Per seed x = test accuracy of prune:end minus that of lottery:end. "
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
        ("prune:end", "lottery:end"),
        lambda pruned, lottery: pruned.test.accuracy - lottery.test.accuracy,
        sparsity=headline_sparsity,
    )
