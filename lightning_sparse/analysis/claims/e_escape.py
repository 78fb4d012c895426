"""Claims E1 and E2: does a detour through dense space leave the scratch solution behind?"""

import math
from collections.abc import Sequence
from functools import partial

from lightning_sparse.analysis.claim import Claim, ClaimResult
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.measured_descents import BARRIER_RULE, SHARE_RULE, MeasuredDescent
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question, in_most_seeds
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim
from lightning_sparse.records import RunRecord

ARMS = (
    "continued", "cyclic", "jump", "burst", "burst_fade", "burst_reprune", "continued_rigl",
    "continued_5", "cyclic_5",
)  # fmt: skip
"""Everything that the scratch solution is trained on by; E1 judges two of them."""

TUNED = tuple(arm for arm in ARMS if not arm.endswith("_5"))
"""Those with a learning rate of their own; what is five times as long takes that of the other."""

CONTROLS = ("continued", "cyclic", "jump")
DETOURS = ("burst", "burst_fade")

E2 = ShareClaim(
    name="E2",
    statement="From the end of the burst a straight line without a barrier leads to the pruned "
    "solution.",
    rule=f"{BARRIER_RULE} A seed holds if H <= delta on the line burst:end to prune:end. "
    f"{SHARE_RULE}",
)


def questions(*, control: str, detour: str) -> tuple[Question, Question]:
    """Return E1 and E2.

    Args:
        control: Of `CONTROLS` the one that was the best on the pilot seeds.
        detour: Of `DETOURS` likewise.
    """
    claim = Claim(
        name="E1",
        statement=(
            "A detour through the space of all weights that returns to the same mask ends at a "
            "lower training loss than as many steps inside it."
        ),
        rule=(
            f"Per seed x = ln L({control}:end) - ln L({detour}:end), L being the mean "
            "cross-entropy on the training subset: the best of continued, cyclic and jump, and the "
            "better of burst and burst_fade, both chosen on the pilot seeds."
        ),
        unit="training loss of the control over that of the detour, geometric mean; claimed above "
        "1",
        side="above",
        scale="log",
    )
    points = (f"{control}:end", f"{detour}:end")
    return (
        Question(
            claim=claim,
            needs=(Needed(points=points),),
            judge=partial(_judge, claim, points),
            in_short="detour beats staying inside, ratio of losses",
            speaks={"subspace": True, "time": False},
        ),
        in_most_seeds(
            E2,
            (Route("burst:end", "prune:end"),),
            _outcome,
            in_short="no barrier from the burst to P, share of seeds",
            speaks={"subspace": True},
        ),
    )


def _judge(
    claim: Claim,
    points: Sequence[str],
    experiment: ExperimentRecords,
    *,
    headline_sparsity: float,
) -> ClaimResult:
    evidence = run_evidence(
        experiment, points, _log_ratio, sparsity=headline_sparsity, on_objective=_of_objectives
    )
    return judge_mean(claim, evidence)


def _log_ratio(control: RunRecord, detour: RunRecord) -> float:
    return math.log(control.train.loss / detour.train.loss)


def _of_objectives(control: RunRecord, detour: RunRecord) -> float:
    return math.log(control.train.objective / detour.train.objective)


def _outcome(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    (line,) = paths
    return SeedOutcome(holds=line.has_no_barrier, value=line.barriers.worse_end)
