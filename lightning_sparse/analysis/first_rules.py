"""Rules 1: every claim by an interval of its own, as seeds 11 to 30 of digits were published."""

import dataclasses

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.claims import (
    a_lines_from_starts,
    b_rise_inside_mask,
    c1_dense_space_helps,
    c2_dense_curve_is_flat,
    d1_scratch_accuracy,
    d2_scratch_training_loss,
    d3_lottery_accuracy,
    d4_lottery_training_loss,
    positive_control,
)
from lightning_sparse.analysis.experiment import ExperimentRecords

_CLAIMS = (
    a_lines_from_starts,
    b_rise_inside_mask,
    c1_dense_space_helps,
    c2_dense_curve_is_flat,
    positive_control,
    d1_scratch_accuracy,
    d2_scratch_training_loss,
    d3_lottery_accuracy,
    d4_lottery_training_loss,
)

# The line of claim B is not here: nothing is searched for on it.
_NEEDS_SEARCH = frozenset({"B", "B: quadratic", "B: cubic", "C1", "C2"})


def judge(experiment: ExperimentRecords, headline_sparsity: float) -> list[ClaimResult]:
    """Judge all claims; those about trained curves stay open unless the positive control passes."""
    results = [claim.judge(experiment, headline_sparsity=headline_sparsity) for claim in _CLAIMS]
    control = next(result for result in results if result.claim == positive_control.CLAIM.name)
    if control.verdict == "supported":
        return results
    return [_without_search(result, control) for result in results]


def _without_search(result: ClaimResult, control: ClaimResult) -> ClaimResult:
    parts = tuple(_without_search(part, control) for part in result.parts)
    if result.claim not in _NEEDS_SEARCH:
        return dataclasses.replace(result, parts=parts)
    reason = (
        f"search too weak: the positive control is {control.verdict} "
        f"(the numbers alone would say {result.verdict})"
    )
    note = "; ".join(filter(None, [reason, result.note]))
    return dataclasses.replace(result, verdict="undecided", note=note, parts=parts)
