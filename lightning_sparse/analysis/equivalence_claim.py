"""A claim that a mean over seeds is zero but for a margin, decided by two one-sided tests."""

import dataclasses
import statistics
from dataclasses import dataclass

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, ClaimResult, Evidence, Verdict
from lightning_sparse.analysis.statistics import FEWEST_SEEDS, equivalence_test, t_interval

_BOTH_SIDES = 0.90  # confidence of the interval that two tests at 5 % are the inverse of


@dataclass(frozen=True, kw_only=True)
class EquivalenceClaim:
    """A sentence that two things are alike.

    Attributes:
        name: As in `ClaimResult.claim`.
        statement: The sentence.
        rule: The rule in words, complete enough to be followed by hand.
        unit: What the judged number is.
    """

    name: str
    statement: str
    rule: str
    unit: str

    def part(self, name: str, statement: str) -> "EquivalenceClaim":
        """Make a claim about one part, decided by the same rule."""
        return dataclasses.replace(self, name=f"{self.name}: {name}", statement=statement)

    def judge(self, evidence: Evidence, margin: float | None) -> ClaimResult:
        """Decide on the evidence; anything missing leaves the claim undecided.

        Args:
            evidence: The judged number by seed.
            margin: Up to where two things are alike, on the scale of these; None if unknown.
        """
        values = list(evidence.values.values())
        is_complete = not evidence.missing and margin is not None and len(values) >= FEWEST_SEEDS
        return ClaimResult(
            claim=self.name,
            statement=self.statement,
            verdict=_decided(values, margin) if is_complete and margin is not None else "undecided",
            estimate=statistics.mean(values) if values else None,
            interval=t_interval(values),
            unit=self.unit,
            seeds=tuple(sorted(evidence.values)),
            rule=self.rule,
            note=BETWEEN_REMARKS.join(_remarks(evidence, values, margin)),
            records=tuple(dict.fromkeys(evidence.records)),
            rules=2,
            by_seed=dict(sorted(evidence.values.items())),
            p=None if margin is None else equivalence_test(values, margin),
        )


def _decided(values: list[float], margin: float) -> Verdict:
    narrow, wide = t_interval(values, _BOTH_SIDES), t_interval(values)
    assert narrow is not None
    assert wide is not None
    if -margin < narrow[0] and narrow[1] < margin:
        return "supported"
    return "contradicted" if wide[0] > margin or wide[1] < -margin else "undecided"


def _remarks(evidence: Evidence, values: list[float], margin: float | None) -> list[str]:
    remarks = [f"missing: {' and '.join(evidence.missing)}"] if evidence.missing else []
    if margin is None:
        remarks.append("the margin is unknown")
    elif (narrow := t_interval(values, _BOTH_SIDES)) is not None:
        low, high = narrow
        remarks.append(f"90 % interval [{low:.3g}, {high:.3g}], margin {margin:.3g}")
    return [*remarks, *evidence.remarks]
