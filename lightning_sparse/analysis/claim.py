"""What a claim is, what evidence it is judged on, and the one rule of decision."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_sparse.analysis.statistics import FEWEST_SEEDS, Interval, t_interval

Verdict = Literal["supported", "not supported", "contradicted", "undecided"]
"""``not supported`` is rules 1's word for ``contradicted``."""

REFUTED: tuple[Verdict, ...] = ("not supported", "contradicted")

INTERVAL_RULE = (
    "Supported if the 95 % Student t interval over seeds lies wholly {side} 0, not supported if it "
    "lies wholly on the other side, else undecided."
)

# An interval must clear zero by more than the rounding of sums of floats, so that values which are
# equal by construction (two floored rises) never decide.
ROUNDING = 1e-9

BETWEEN_REMARKS = "; "


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the records say about one claim: one number per seed, on the scale it is judged on.

    Attributes:
        values: The judged number by seed; logarithms where the claim is about a ratio.
        on_objective: The same computed from the objective instead of the loss; empty where the
            claim is not about a loss.
        records: Run ids of everything used.
        missing: What should have been there and is not, in words.
        remarks: What the reader must know beside the verdict.
    """

    values: Mapping[int, float]
    on_objective: Mapping[int, float]
    records: Sequence[str]
    missing: Sequence[str] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """One judged claim.

    Attributes:
        claim: Its name, ``A`` to ``D4`` or ``positive control``; a part has ``A: dense:start``.
        statement: The sentence that is judged.
        verdict: ``supported`` when the whole interval is on the claimed side, ``contradicted``
            (rules 1: ``not supported``) when it is wholly on the other, else ``undecided``.
        estimate: Mean over seeds in ``unit``; None without any value.
        interval: At 95 %, in ``unit``; None below two seeds.
        unit: What the numbers are, and on which side of what the claim has them.
        seeds: The seeds behind the estimate.
        rule: How it was decided.
        note: What else the reader must know.
        parts: Results of the parts; the whole shows the numbers of the part that decides it.
        records: Run ids behind it.
        rules: Set of rules of PROTOCOL.md that judged it; what follows is of rules 2 alone.
        qualifier: What is to be read on after the verdict: ``: search too weak``, or `` at 5,000
            steps, undecided at 80,000``; empty if nothing.
        by_seed: What was judged in each seed, in nats or in ``unit``.
        p: Two-sided p of the test that the interval is the inverse of; None without one.
        adjusted_p: The same by Holm over all claims of the table.
        outlook: How many seeds would decide it, and the command; empty if it is decided.
        shows_a_part: Whether its numbers are those of one of its parts.
    """

    claim: str
    statement: str
    verdict: Verdict
    estimate: float | None
    interval: Interval | None
    unit: str
    seeds: tuple[int, ...]
    rule: str
    note: str
    parts: tuple["ClaimResult", ...] = ()
    records: tuple[str, ...] = ()
    rules: int = 1
    qualifier: str = ""
    by_seed: Mapping[int, float] = field(default_factory=dict)
    p: float | None = None
    adjusted_p: float | None = None
    outlook: str = ""
    shows_a_part: bool = False

    @property
    def verdict_words(self) -> str:
        """The verdict with its qualifier."""
        return f"{self.verdict}{self.qualifier}"

    @property
    def num_seeds(self) -> int:
        """How many seeds are behind the estimate."""
        return len(self.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that ``claims.json`` has."""
        return self._common() | (self._of_rules_2() if self.rules > 1 else {})

    def _common(self) -> dict[str, Any]:
        return {
            "claim": self.claim,
            "statement": self.statement,
            "verdict": self.verdict,
            "estimate": self.estimate,
            "interval": None if self.interval is None else list(self.interval),
            "unit": self.unit,
            "num_seeds": self.num_seeds,
            "seeds": list(self.seeds),
            "rule": self.rule,
            "note": self.note,
            "parts": [part.to_dict() for part in self.parts],
            "records": list(self.records),
        }

    def _of_rules_2(self) -> dict[str, Any]:
        return {
            "rules": self.rules,
            "qualifier": self.qualifier,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "p": self.p,
            "adjusted_p": self.adjusted_p,
            "outlook": self.outlook,
        }


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A falsifiable sentence with its rule.

    Attributes:
        name: As in `ClaimResult.claim`.
        statement: The sentence.
        rule: The rule in words, complete enough to be followed by hand.
        unit: What the reported numbers are.
        side: On which side of zero the claim has the judged number.
        scale: ``log`` if the judged number is a natural logarithm; reports then show its
            exponential, so that means become geometric means and zero becomes one.
        refuted: The word for an interval wholly on the other side.
    """

    name: str
    statement: str
    rule: str
    unit: str
    side: Literal["above", "below"]
    scale: Literal["log", "natural"]
    refuted: Literal["not supported", "contradicted"] = "not supported"

    def part(self, name: str, statement: str) -> "Claim":
        """Make a claim about one part, decided by the same rule."""
        return dataclasses.replace(self, name=f"{self.name}: {name}", statement=statement)

    def judge(self, evidence: Evidence) -> ClaimResult:
        """Decide on the evidence; anything missing leaves the claim undecided."""
        estimate, interval = _summary(evidence.values)
        is_complete = not evidence.missing and interval is not None
        return ClaimResult(
            claim=self.name,
            statement=self.statement,
            verdict=self.decide(interval) if is_complete else "undecided",
            estimate=None if estimate is None else self._reported(estimate),
            interval=self._reported_interval(interval),
            unit=self.unit,
            seeds=tuple(sorted(evidence.values)),
            rule=self.rule,
            note=BETWEEN_REMARKS.join(self._remarks(evidence)),
            records=tuple(dict.fromkeys(evidence.records)),
        )

    def combine(self, parts: Sequence[ClaimResult]) -> ClaimResult:
        """Judge a claim by its parts, which have its side and scale: it needs all of them.

        The numbers shown are those of the weakest part: among the parts with the verdict of the
        whole, the one whose estimate is furthest against the claim.
        """
        verdict = combined_verdict([part.verdict for part in parts])
        weakest = max((part for part in parts if part.verdict == verdict), key=self._weakness)
        telling = [part for part in parts if part is weakest or part.verdict == "undecided"]
        return ClaimResult(
            claim=self.name,
            statement=self.statement,
            verdict=verdict,
            estimate=weakest.estimate,
            interval=weakest.interval,
            unit=self.unit,
            seeds=weakest.seeds,
            rule=self.rule,
            note=BETWEEN_REMARKS.join(
                dict.fromkeys([f"weakest part is {weakest.claim}", *_remarks_of(telling)])
            ),
            parts=tuple(parts),
            shows_a_part=True,
            records=tuple(dict.fromkeys(run_id for part in parts for run_id in part.records)),
        )

    def decide(self, interval: Interval | None) -> Verdict:
        """Compare an interval of the judged number with zero.

        Example:
            >>> claim = Claim(
            ...     name="", statement="", rule="", unit="", side="below", scale="natural"
            ... )
            >>> claim.decide((-2.0, -1.0)), claim.decide((-1.0, 1.0)), claim.decide((0.5, 1.0))
            ('supported', 'undecided', 'not supported')
            >>> claim.decide((0.0, 0.0)), claim.decide(None)
            ('undecided', 'undecided')
        """
        if interval is None:
            return "undecided"
        low, high = interval if self.side == "above" else (-interval[1], -interval[0])
        if low > ROUNDING:
            return "supported"
        return self.refuted if high < -ROUNDING else "undecided"

    def _remarks(self, evidence: Evidence) -> list[str]:
        remarks = [f"missing: {' and '.join(evidence.missing)}"] if evidence.missing else []
        if len(evidence.values) < FEWEST_SEEDS:
            remarks.append(f"seeds: {len(evidence.values)}, an interval needs {FEWEST_SEEDS}")
        estimate, interval = _summary(evidence.on_objective)
        if estimate is not None and interval is not None:
            low, high = self._reported_interval(interval) or interval
            remarks.append(
                f"by the objective instead of the loss: {self.decide(interval)}, "
                f"{self._reported(estimate):z.3g} [{low:z.3g}, {high:z.3g}]"
            )
        return [*remarks, *evidence.remarks]

    def _reported(self, judged: float) -> float:
        return math.exp(judged) if self.scale == "log" else judged

    def _reported_interval(self, interval: Interval | None) -> Interval | None:
        if interval is None:
            return None
        return self._reported(interval[0]), self._reported(interval[1])

    def _weakness(self, part: ClaimResult) -> tuple[bool, float]:
        if part.estimate is None:
            return True, 0.0
        return False, part.estimate if self.side == "below" else -part.estimate


def _remarks_of(parts: Iterable[ClaimResult]) -> Iterator[str]:
    for part in parts:
        yield from filter(None, part.note.split(BETWEEN_REMARKS))


def combined_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Join the verdicts of parts: one refuted part refutes, one undecided part leaves it open.

    Example:
        >>> combined_verdict(["supported", "undecided", "not supported"])
        'not supported'
        >>> combined_verdict(["supported", "undecided"])
        'undecided'
    """
    for verdict in REFUTED:
        if verdict in verdicts:
            return verdict
    return "undecided" if "undecided" in verdicts else "supported"


def to_json(results: Sequence[ClaimResult]) -> str:
    """Write ``claims.json``: a list of claims, strict JSON."""
    return json.dumps([result.to_dict() for result in results], indent=2, allow_nan=False) + "\n"


def _summary(values: Mapping[int, float]) -> tuple[float | None, Interval | None]:
    judged = list(values.values())
    return (statistics.mean(judged) if judged else None), t_interval(judged)
