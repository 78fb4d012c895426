"""Claims R1 to R4: methods of sparse training beside each other, by the loss that they end with."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from functools import partial

from lightning_sparse.analysis.claim import Claim, ClaimResult, Evidence, Verdict
from lightning_sparse.analysis.equivalence_claim import EquivalenceClaim
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.points import parse_point
from lightning_sparse.records import RunRecord

SPREAD_OF = "random:end"
"""The arm whose scatter over seeds says what is alike: it is compared with none."""


def _lower(name: str, statement: str, higher: str, lower: str) -> Question:
    """Ask whether one arm ends at a lower training loss than another."""
    claim = Claim(
        name=name,
        statement=statement,
        rule=f"Per seed x = ln L({higher}) - ln L({lower}), L being the training loss at the end.",
        unit=f"ratio of training losses, {higher} over {lower}; claimed above 1",
        side="above",
        scale="log",
    )
    points = (higher, lower)
    return Question(
        claim=claim, needs=(Needed(points=points),), judge=partial(_judge_lower, claim, points)
    )


def _judge_lower(
    claim: Claim,
    points: tuple[str, str],
    experiment: ExperimentRecords,
    *,
    headline_sparsity: float,
) -> ClaimResult:
    return judge_mean(claim, _log_ratios(experiment, points, headline_sparsity))


_ALIKE = EquivalenceClaim(
    name="R3",
    statement=(
        "What is chosen before training is worth the numbers that each layer keeps: with masks "
        "shuffled within layers, and with weights drawn anew, training ends at the same loss."
    ),
    rule=(
        "Per seed x = ln L(control) - ln L(original). Supported if the 90 % Student t interval of "
        "its mean lies within the margin on both sides, contradicted if the 95 % interval lies "
        "wholly outside of it, else undecided. The margin is the standard deviation over seeds of "
        "ln L of training inside random masks. As a whole supported if all parts are, contradicted "
        "if all are, else undecided."
    ),
    unit="mean of ln L(control) - ln L(original); claimed to be 0 but for the margin",
)

_CONTROLS = {
    f"{words}, {how}": (f"{arm}_{control}:end", f"{arm}:end")
    for arm, words in (("snip", "SNIP"), ("grasp", "GraSP"), ("synflow", "SynFlow"))
    for control, how in (("shuffled", "shuffled"), ("reinitialised", "other weights"))
}


def _judge_alike(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    spread = _spread(experiment, headline_sparsity)
    parts = [
        _ALIKE.part(name, f"{points[0]} ends as {points[1]} does.").judge(
            _log_ratios(experiment, points, headline_sparsity), spread
        )
        for name, points in _CONTROLS.items()
    ]
    return ClaimResult(
        claim=_ALIKE.name,
        statement=_ALIKE.statement,
        verdict=_of_all([part.verdict for part in parts]),
        estimate=None,
        interval=None,
        unit=_ALIKE.unit,
        seeds=tuple(sorted({seed for part in parts for seed in part.seeds})),
        rule=_ALIKE.rule,
        note="",
        parts=tuple(parts),
        records=tuple(dict.fromkeys(run_id for part in parts for run_id in part.records)),
        rules=2,
    )


def _of_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that all parts have; undecided if they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def _spread(experiment: ExperimentRecords, sparsity: float) -> float | None:
    """Return the standard deviation over seeds of what everything is compared by."""
    runs = [experiment.run(SPREAD_OF, seed, sparsity) for seed in experiment.seeds]
    losses = [math.log(run.train.loss) for run in runs if run is not None]
    is_known = len(losses) == len(runs) and len(losses) > 1
    return statistics.stdev(losses) if is_known else None


def _log_ratios(
    experiment: ExperimentRecords, points: tuple[str, str], sparsity: float
) -> Evidence:
    """Return the log of one arm's loss over another's by seed; nothing if either is off."""
    evidence = run_evidence(experiment, points, _log_ratio, sparsity=sparsity)
    arms = {parse_point(point).run for point in points}
    off = {run.arm: run for run in experiment.runs if run.arm in arms and run.misses_sparsity}
    if not off:
        return evidence
    missing = [
        f"{arm} at the sparsity asked for (it ended at {run.measured_sparsity:.2%})"
        for arm, run in off.items()
    ]
    return dataclasses.replace(evidence, values={}, missing=[*evidence.missing, *missing])


def _log_ratio(first: RunRecord, second: RunRecord) -> float:
    return math.log(first.train.loss) - math.log(second.train.loss)


QUESTIONS = (
    _lower(
        "R1",
        "RigL ends at a lower training loss than training inside the random mask it begins with.",
        "random:end",
        "rigl:end",
    ),
    _lower(
        "R2",
        "Continued by RigL, the scratch solution ends lower than continued inside its own mask.",
        "continued:end",
        "continued_rigl:end",
    ),
    Question(
        claim=_ALIKE,
        needs=(Needed(points=(*dict.fromkeys(sum(_CONTROLS.values(), ())), SPREAD_OF)),),
        judge=_judge_alike,
    ),
    _lower(
        "R4: AC/DC",
        "Gradual pruning ends at a lower training loss than AC/DC.",
        "acdc:end",
        "prune:end",
    ),
    _lower(
        "R4: RigL, twice the steps",
        "Gradual pruning ends at a lower training loss than RigL after twice the steps.",
        "rigl_twice:end",
        "prune:end",
    ),
)
