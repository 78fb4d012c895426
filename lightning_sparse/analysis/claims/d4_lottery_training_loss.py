"""Claim D4: pruned, a network reaches a lower training loss than its lottery ticket does."""

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords

CLAIM = Claim(
    name="D4",
    statement="The pruned network reaches a lower training loss than the lottery network.",
    rule=(
        "Per seed x = mean cross-entropy on the training subset of prune:end minus that of "
        f"lottery:end. {INTERVAL_RULE.format(side='below')}"
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
        ("prune:end", "lottery:end"),
        lambda pruned, lottery: pruned.train.loss - lottery.train.loss,
        sparsity=headline_sparsity,
        on_objective=lambda pruned, lottery: pruned.train.objective - lottery.train.objective,
    )
