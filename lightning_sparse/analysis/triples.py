"""What other seeds would have said: every claim judged anew on disjoint triples of seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.records import Record

SIZE = 3
"""Seeds of one group: as many as `make reproduce` takes by default."""


@dataclass(frozen=True, kw_only=True)
class Triple:
    """The verdicts of three seeds alone.

    Attributes:
        seeds: In increasing order.
        claims: As `judge_all` gives them.
    """

    seeds: tuple[int, ...]
    claims: tuple[ClaimResult, ...]


def disjoint_triples(seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """Cut seeds into threes, from the last one on; what is left over are the first ones.

    Example:
        >>> disjoint_triples([15, 11, 12, 13, 14, 16, 17])
        [(12, 13, 14), (15, 16, 17)]
    """
    ordered = sorted(seeds)
    first = len(ordered) % SIZE
    return [tuple(ordered[i : i + SIZE]) for i in range(first, len(ordered), SIZE)]


def judge_triples(records: Sequence[Record], *, headline_sparsity: float) -> list[Triple]:
    """Judge every triple by the rules of the whole; none if there are fewer than two.

    Args:
        records: Of one experiment, all report seeds.
        headline_sparsity: Nominal sparsity at which the claims are judged, in [0, 1).

    Raises:
        UserError: If the records are not of one experiment or contradict each other.
    """
    groups = disjoint_triples(list({record.seed for record in records}))
    if len(groups) < 2:  # noqa: PLR2004 (one triple is no comparison)
        return []
    return [
        Triple(
            seeds=seeds,
            claims=tuple(
                judge_all(
                    [record for record in records if record.seed in seeds],
                    headline_sparsity=headline_sparsity,
                )
            ),
        )
        for seeds in groups
    ]
