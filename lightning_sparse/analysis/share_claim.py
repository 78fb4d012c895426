"""A claim about the share of seeds that hold, decided by an exact interval: rules 2."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.claim import BETWEEN_REMARKS, ClaimResult, Verdict
from lightning_sparse.analysis.evidence import complete, missing_words
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.measured_descents import (
    MeasuredDescent,
    both,
    measure_descent,
    opposite,
    unrefined_remarks,
)
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.statistics import share_interval, share_test

TOO_COARSE = "measured too coarsely"


@dataclass(frozen=True, kw_only=True)
class SeedOutcome:
    """What one seed says.

    Attributes:
        holds: Whether the claim holds in it; None if the measurement is too coarse to say.
        value: What was compared with the margin, in nats.
        remark: A word on the seed that the reader must know, such as ``no gap``; empty if none.
    """

    holds: bool | None
    value: float
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class ShareEvidence:
    """The outcomes by seed, and what lacks; attributes as in `lightning_sparse.analysis.claim`."""

    outcomes: Mapping[int, SeedOutcome]
    records: Sequence[str] = ()
    missing: Sequence[str] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ShareClaim:
    """A sentence that holds in a seed or does not, and is claimed of more than half of all seeds.

    Attributes:
        name: As in `ClaimResult.claim`.
        statement: The sentence.
        rule: When it holds in a seed, in words complete enough to be followed by hand.
        unit: What the share is of.
    """

    name: str
    statement: str
    rule: str
    unit: str = "share of seeds in which it holds; claimed above 1/2"

    def part(self, name: str, statement: str) -> "ShareClaim":
        """Make a claim about one part, decided by the same rule."""
        return dataclasses.replace(self, name=f"{self.name}: {name}", statement=statement)

    def judge(self, evidence: ShareEvidence) -> ClaimResult:
        """Decide on the outcomes; anything missing leaves the claim undecided."""
        answers = [outcome.holds for outcome in evidence.outcomes.values()]
        least, most = answers.count(True), len(answers) - answers.count(False)
        verdict, qualifier = _decided(least, most, len(answers))
        if evidence.missing:
            verdict, qualifier = "undecided", ""
        low, high = share_interval(least, len(answers)), share_interval(most, len(answers))
        against = verdict == "contradicted"
        return ClaimResult(
            claim=self.name,
            statement=self.statement,
            verdict=verdict,
            estimate=least / len(answers) if answers else None,
            interval=(low[0], high[1]) if low and high else None,
            unit=self.unit,
            seeds=tuple(sorted(evidence.outcomes)),
            rule=self.rule,
            note=BETWEEN_REMARKS.join(_remarks(evidence)),
            records=tuple(dict.fromkeys(evidence.records)),
            rules=2,
            qualifier=qualifier,
            by_seed={seed: item.value for seed, item in sorted(evidence.outcomes.items())},
            p=share_test(most if against else least, len(answers)),
        )


def every_path_climbs(paths: Sequence[MeasuredDescent]) -> SeedOutcome:
    """Ask whether every path climbs; the line comes first and says whether there is a gap."""
    climbs = both(*(opposite(path.is_descent) for path in paths))
    least = min(path.descent.value for path in paths)
    has_gap = paths[0].has_gap
    return SeedOutcome(holds=both(has_gap, climbs), value=least, remark="" if has_gap else "no gap")


def path_outcomes(
    experiment: ExperimentRecords,
    routes: Sequence[Route],
    outcome: Callable[[Sequence[MeasuredDescent]], SeedOutcome],
    *,
    sparsity: float,
    quantity: Quantity,
    seeds: Sequence[int] | None = None,
) -> ShareEvidence:
    """Ask ``outcome`` of the paths along ``routes``, once per seed.

    Args:
        experiment: All records.
        routes: Paths that are looked at together.
        outcome: Takes what was measured on them, in the order of ``routes``.
        sparsity: Nominal sparsity of the paths.
        quantity: What is judged.
        seeds: Which are asked; None for all.
    """
    found = {
        seed: [experiment.path(route, seed, sparsity) for route in routes]
        for seed in (experiment.seeds if seeds is None else seeds)
    }
    paths = {seed: present for seed, items in found.items() if (present := complete(items))}
    flat = [path for items in paths.values() for path in items]
    return ShareEvidence(
        outcomes={
            seed: outcome([measure_descent(path, quantity) for path in items])
            for seed, items in paths.items()
        },
        records=[path.run_id for path in flat],
        missing=missing_words([experiment.label(route, sparsity) for route in routes], found),
        remarks=unrefined_remarks(flat),
    )


def joined(parts: Iterable[ShareEvidence]) -> ShareEvidence:
    """Put together what was found in seeds that were not asked of the same paths."""
    parts = list(parts)
    return ShareEvidence(
        outcomes={seed: one for part in parts for seed, one in part.outcomes.items()},
        records=[record for part in parts for record in part.records],
        missing=[words for part in parts for words in part.missing],
        remarks=[remark for part in parts for remark in part.remarks],
    )


def _decided(least: int, most: int, count: int) -> tuple[Verdict, str]:
    """Decide a share of which only bounds are known: what is unclear may hold or fail."""
    pessimist, optimist = _verdict(least, count), _verdict(most, count)
    if pessimist == optimist:
        return pessimist, ""
    return "undecided", f": {TOO_COARSE}"


def _verdict(holding: int, count: int) -> Verdict:
    interval = share_interval(holding, count)
    if interval is None or interval[0] <= 1 / 2 <= interval[1]:
        return "undecided"
    return "supported" if interval[0] > 1 / 2 else "contradicted"


def _remarks(evidence: ShareEvidence) -> list[str]:
    remarks = [f"missing: {' and '.join(evidence.missing)}"] if evidence.missing else []
    outcomes = evidence.outcomes
    holding = sum(item.holds is True for item in outcomes.values())
    remarks.append(f"holds in {holding} of {len(outcomes)} seeds")
    unclear = [str(seed) for seed, item in sorted(outcomes.items()) if item.holds is None]
    remarks += [f"{TOO_COARSE} in seed {', '.join(unclear)}"] if unclear else []
    told: dict[str, list[str]] = {}
    for seed, item in sorted(outcomes.items()):
        if item.remark:
            told.setdefault(item.remark, []).append(str(seed))
    remarks += [
        f"{remark} in seed {', '.join(seeds)}, counted as failing" for remark, seeds in told.items()
    ]
    return [*remarks, *evidence.remarks]
