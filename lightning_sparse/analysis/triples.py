"""What other seeds would have said: every claim judged anew on disjoint groups of seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning_sparse.analysis.claim import REFUTED, ClaimResult
from lightning_sparse.analysis.judge import judge_all, rule_set
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.records import Record


@dataclass(frozen=True, kw_only=True)
class Triple:
    """The verdicts of a few seeds alone: three under rules 1, six under rules 2.

    Attributes:
        seeds: In increasing order.
        claims: As `judge_all` gives them.
    """

    seeds: tuple[int, ...]
    claims: tuple[ClaimResult, ...]


def disjoint_triples(seeds: Sequence[int], size: int = 3) -> list[tuple[int, ...]]:
    """Cut seeds into groups, from the last one on; what is left over are the first ones.

    Example:
        >>> disjoint_triples([15, 11, 12, 13, 14, 16, 17])
        [(12, 13, 14), (15, 16, 17)]
    """
    ordered = sorted(seeds)
    first = len(ordered) % size
    return [tuple(ordered[i : i + size]) for i in range(first, len(ordered), size)]


def judge_triples(
    records: Sequence[Record], *, headline_sparsity: float, rules: int | RuleSet | None = None
) -> list[Triple]:
    """Judge every group by the rules of the whole; none if there are fewer than two.

    Args:
        records: Of one experiment, all report seeds.
        headline_sparsity: Nominal sparsity at which the claims are judged, in [0, 1).
        rules: As in `judge_all`.

    Raises:
        UserError: If the records are not of one experiment or contradict each other.
    """
    rules = rule_set(rules, records)
    groups = disjoint_triples(list({record.seed for record in records}), rules.group_size)
    if len(groups) < 2:  # noqa: PLR2004 (one group is no comparison)
        return []
    return [
        Triple(
            seeds=seeds,
            claims=tuple(
                judge_all(
                    [record for record in records if record.seed in seeds],
                    headline_sparsity=headline_sparsity,
                    rules=rules,
                )
            ),
        )
        for seeds in groups
    ]


class Agreement(NamedTuple):
    """How verdicts of groups of seeds compare with those of all: counts.

    Attributes:
        total: All of them.
        agree: Those that say the same.
        contradict: Those that support what the whole refutes, or the other way round.
    """

    total: int
    agree: int
    contradict: int


def agreement(claims: Sequence[ClaimResult], triples: Sequence[Triple]) -> Agreement:
    """Compare what each group says of each claim with what all seeds say."""
    verdicts = [
        (claim.verdict, triple.claims[place].verdict)
        for place, claim in enumerate(claims)
        for triple in triples
    ]
    return Agreement(
        total=len(verdicts),
        agree=sum(whole == part for whole, part in verdicts),
        contradict=sum(
            "supported" in pair and any(verdict in REFUTED for verdict in pair) for pair in verdicts
        ),
    )
