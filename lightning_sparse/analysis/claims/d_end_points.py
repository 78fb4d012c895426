"""Claims D1 to D4: pruned, a network ends better than with its final mask from other weights.

One claim, of two measures and two arms that are given the mask: D1 and D2 compare with scratch, D3
and D4 with lottery.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from lightning_sparse.analysis.claim import INTERVAL_RULE, Claim, ClaimResult, Evidence
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.records import RunRecord

Decide = Callable[[Claim, Evidence], ClaimResult]
Difference = Callable[[RunRecord, RunRecord], float]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What two end points are compared by.

    Attributes:
        statement: The claim about another arm, ``{other}``.
        rule: What x is in a seed, of the end of another arm.
        unit: Of the difference, and on which side of 0 it is claimed.
        side: That side.
        difference: The pruned run's number minus the other's.
        on_objective: The same of the objective; None where there is no loss.
    """

    statement: str
    rule: str
    unit: str
    side: Literal["above", "below"]
    difference: Difference
    on_objective: Difference | None = None


ACCURACY = Measure(
    statement="On the test set the pruned network is more accurate than the {other} network.",
    rule="Per seed x = test accuracy of prune:end minus that of {other}:end.",
    unit="difference of test accuracies, each in [0, 1]; claimed above 0",
    side="above",
    difference=lambda pruned, other: pruned.test.accuracy - other.test.accuracy,
)
TRAINING_LOSS = Measure(
    statement="The pruned network reaches a lower training loss than the {other} network.",
    rule=(
        "Per seed x = mean cross-entropy on the training subset of prune:end minus that of "
        "{other}:end."
    ),
    unit="difference of training losses in nats; claimed below 0",
    side="below",
    difference=lambda pruned, other: pruned.train.loss - other.train.loss,
    on_objective=lambda pruned, other: pruned.train.objective - other.train.objective,
)


def question(name: str, measure: Measure, other: str, decide: Decide) -> Question:
    """Ask whether the pruned solution is better than another arm's by one measure.

    Args:
        name: Of the claim.
        measure: What they are compared by.
        other: The arm, whose name is also the word for its network.
        decide: What makes a verdict of the differences by seed.
    """
    claim = Claim(
        name=name,
        statement=measure.statement.format(other=other),
        rule=measure.rule.format(other=other),
        unit=measure.unit,
        side=measure.side,
        scale="natural",
    )
    points = ("prune:end", f"{other}:end")
    return Question(
        claim=claim,
        needs=(Needed(points=points),),
        judge=partial(_judge, claim, measure, points, decide),
    )


def questions(decide: Decide) -> tuple[Question, ...]:
    """Return D1 to D4."""
    pairs = [(measure, arm) for arm in ("scratch", "lottery") for measure in _MEASURES]
    return tuple(
        question(f"D{place}", measure, arm, decide)
        for place, (measure, arm) in enumerate(pairs, start=1)
    )


_MEASURES: Sequence[Measure] = (ACCURACY, TRAINING_LOSS)


def by_interval(claim: Claim, evidence: Evidence) -> ClaimResult:
    """Decide as rules 1 do, in their words."""
    rule = f"{claim.rule} {INTERVAL_RULE.format(side=claim.side)}"
    return dataclasses.replace(claim, rule=rule).judge(evidence)


def _judge(
    claim: Claim,
    measure: Measure,
    points: tuple[str, str],
    decide: Decide,
    experiment: ExperimentRecords,
    *,
    headline_sparsity: float,
) -> ClaimResult:
    evidence = run_evidence(
        experiment,
        points,
        measure.difference,
        sparsity=headline_sparsity,
        on_objective=measure.on_objective,
    )
    return decide(claim, evidence)


OF_RULES_1 = questions(by_interval)
OF_RULES_2 = questions(judge_mean)
