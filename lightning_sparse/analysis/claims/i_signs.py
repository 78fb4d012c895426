"""Claims I1 and I2: do the pruned solution's signs carry it, where the mask alone does not?"""

import dataclasses
import math
from collections.abc import Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, Claim, ClaimResult
from lightning_sparse.analysis.evidence import run_evidence
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.mean_claim import judge_mean
from lightning_sparse.analysis.measured_descents import BARRIER_RULE, SHARE_RULE, MeasuredDescent
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question, in_most_seeds
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim
from lightning_sparse.records import RunRecord

ENDS = ("prune", "scratch")
"""What the gap lies between."""

NULL = "signs_shuffled"
"""As many signs of each kind in each layer, in other places: what must not close the gap."""

ARMS = ("signs", "signs_norm", "signs_90", "signs_75", "signs_50", NULL, "magnitudes")
"""Every start inside the mask that is trained; I1 judges the first and the null."""

I1 = Claim(
    name="I1",
    statement=(
        "Trained inside the mask from the magnitudes of the scratch start with the pruned "
        "solution's signs, a network closes more than half of the gap to the pruned one."
    ),
    rule=(
        "Per seed x = ln L(signs:end) - (ln L(scratch:end) + ln L(prune:end)) / 2, L being the "
        f"mean cross-entropy on the training subset. Asked of {NULL}:end too, whose signs are "
        "permuted within each layer: undecided if that is supported."
    ),
    unit="training loss over the geometric mean of those of scratch and pruned; claimed below 1",
    side="below",
    scale="log",
)
I2 = ShareClaim(
    name="I2",
    statement="From the end of training with the pruned solution's signs a straight line without a "
    "barrier leads to the pruned solution.",
    rule=f"{BARRIER_RULE} A seed holds if H <= delta on the line signs:end to prune:end. "
    f"{SHARE_RULE}",
)
NULL_SUPPORTED = ": the null is supported too"


def judge(experiment: ExperimentRecords, *, headline_sparsity: float) -> ClaimResult:
    """Judge the signs, and beside them the null."""

    def part(arm: str, name: str) -> ClaimResult:
        points = (f"{arm}:end", "scratch:end", "prune:end")
        evidence = run_evidence(
            experiment, points, _beyond_half, sparsity=headline_sparsity, on_objective=_of_objective
        )
        return judge_mean(I1.part(name, f"{arm} closes more than half of the gap."), evidence)

    signs, null = part("signs", "signs"), part(NULL, "null")
    whole = dataclasses.replace(signs, claim=I1.name, statement=I1.statement, parts=(signs, null))
    if null.verdict != "supported":
        return whole
    note = BETWEEN_REMARKS.join(filter(None, [f"alone it would be {signs.verdict}", signs.note]))
    return dataclasses.replace(whole, verdict="undecided", qualifier=NULL_SUPPORTED, note=note)


def _beyond_half(made: RunRecord, scratch: RunRecord, pruned: RunRecord) -> float:
    return math.log(made.train.loss) - math.log(scratch.train.loss * pruned.train.loss) / 2


def _of_objective(made: RunRecord, scratch: RunRecord, pruned: RunRecord) -> float:
    ends = scratch.train.objective * pruned.train.objective
    return math.log(made.train.objective) - math.log(ends) / 2


def _outcome(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    (line,) = paths
    return SeedOutcome(holds=line.has_no_barrier, value=line.barriers.worse_end)


QUESTIONS = (
    Question(
        claim=I1,
        needs=(Needed(points=("prune:end", "scratch:end", "signs:end", f"{NULL}:end")),),
        judge=judge,
        in_short="P's signs close half of the gap, ratio of losses",
        speaks={"start": True},
    ),
    in_most_seeds(
        I2,
        (Route("signs:end", "prune:end"),),
        _outcome,
        in_short="no barrier from P's signs to P, share of seeds",
        speaks={"start": True},
    ),
)
