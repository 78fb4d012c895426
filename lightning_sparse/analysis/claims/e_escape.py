"""Claims E1 to E3: does a detour through dense space leave the scratch solution behind?"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from lightning_sparse.analysis.claim import Claim, ClaimResult
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.explanations import Explanation
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


OTHER_MASK = "burst_reprune"

_UNIT = "training loss of the control over that of the detour, geometric mean; claimed above 1"


def questions(*, control: str, detour: str) -> tuple[Question, ...]:
    """Return E1, E2 and E3.

    Args:
        control: Of `CONTROLS` the one that was the best on the pilot seeds.
        detour: Of `DETOURS` likewise.
    """
    same = Claim(
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
        unit=_UNIT,
        side="above",
        scale="log",
    )
    other = Claim(
        name="E3",
        statement=(
            "A detour through the space of all weights that ends in another mask, of the largest "
            "weights of each layer and as many, ends at a lower training loss than as many steps "
            "inside the given one."
        ),
        rule=f"As E1, of {control}:end and {OTHER_MASK}:end.",
        unit=_UNIT,
        side="above",
        scale="log",
    )
    return (
        _compared(
            same,
            (control, detour),
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
        _compared(
            other,
            (control, OTHER_MASK),
            in_short="detour into another mask beats staying, ratio of losses",
            speaks={"mask": True},
        ),
    )


def _compared(
    claim: Claim, arms: tuple[str, str], *, in_short: str, speaks: Mapping[Explanation, bool]
) -> Question:
    points = tuple(f"{arm}:end" for arm in arms)
    return Question(
        claim=claim,
        needs=(Needed(points=points),),
        judge=partial(_judge, claim, points),
        in_short=in_short,
        speaks=speaks,
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
