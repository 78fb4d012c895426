"""Claim A of rules 2: from each start the straight line leads down to the pruned solution."""

import dataclasses
from collections.abc import Sequence

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, ClaimResult, Verdict, combined_verdict
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import (
    DESCENT_RULE,
    SHARE_RULE,
    MeasuredDescent,
)
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim, path_outcomes

CLAIM = ShareClaim(
    name="A",
    statement="From each start the straight line leads downhill to the pruned solution.",
    rule=(
        f"{DESCENT_RULE} A seed holds if R <= delta on the line from the start to prune:end. "
        f"{SHARE_RULE} The whole is supported if all three starts are, contradicted if all three "
        "are or if three times the smallest p of a contradicted one is below 5 %. The controls, to "
        "the solution that training from the start reaches, are judged alike and decide nothing."
    ),
)

ROUTES = tuple(
    Route(start, "prune:end") for start in ("dense:start", "lottery:start", "scratch:start")
)
CONTROLS = (Route("scratch:start", "scratch:end"), Route("dense:start", "dense:end"))
_LEVEL = 0.05


def judge(
    experiment: ExperimentRecords, *, headline_sparsity: float, quantity: Quantity
) -> ClaimResult:
    """Judge the line from each start, the whole by all of them, and the controls beside it."""

    def line(route: Route, name: str) -> ClaimResult:
        part = CLAIM.part(name, f"The line from {route.start} to {route.end} leads downhill.")
        return part.judge(
            path_outcomes(
                experiment, [route], outcome, sparsity=headline_sparsity, quantity=quantity
            )
        )

    starts = [line(route, route.start) for route in ROUTES]
    controls = [line(route, f"control {route.start} to {route.end}") for route in sorted(CONTROLS)]
    return _whole(starts, controls)


def outcome(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    """Ask whether one goes down on the line."""
    (line,) = paths
    return SeedOutcome(holds=line.is_descent, value=line.descent.value)


def _whole(starts: Sequence[ClaimResult], controls: Sequence[ClaimResult]) -> ClaimResult:
    verdict, p = _verdict(starts)
    # Of equals the first.
    weakest = min(starts, key=lambda part: -1.0 if part.estimate is None else part.estimate)
    open_parts = [part for part in starts if part.verdict == "undecided"]
    told = dict.fromkeys(part.claim for part in [weakest, *open_parts])
    notes = [
        f"{part.claim}: {remark}"
        for part in starts
        if part.claim in told
        for remark in part.note.split(BETWEEN_REMARKS)
    ]
    qualifiers = {part.qualifier for part in open_parts}
    return dataclasses.replace(
        weakest,
        claim=CLAIM.name,
        statement=CLAIM.statement,
        verdict=verdict,
        qualifier=qualifiers.pop() if verdict == "undecided" and len(qualifiers) == 1 else "",
        note=BETWEEN_REMARKS.join([f"weakest part is {weakest.claim}", *notes]),
        parts=(*starts, *controls),
        shows_a_part=True,
        records=tuple(dict.fromkeys(run_id for part in starts for run_id in part.records)),
        p=p,
    )


def _verdict(starts: Sequence[ClaimResult]) -> tuple[Verdict, float | None]:
    """Join the verdicts; three chances to be contradicted are worth a stricter test each."""
    against = [part.p for part in starts if part.verdict == "contradicted" and part.p is not None]
    if against and len(against) < len(starts):
        p = min(1.0, len(starts) * min(against))
        return ("contradicted" if p < _LEVEL else "undecided"), p
    ps = [part.p for part in starts if part.p is not None]
    return combined_verdict([part.verdict for part in starts]), max(ps, default=None)


QUESTION = Question(
    claim=CLAIM,
    needs=(Needed(routes=ROUTES), Needed(routes=CONTROLS, decides=False)),
    judge=judge,
)
