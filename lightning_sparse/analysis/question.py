"""A claim or a control as one value: its words and rule, the paths it needs, and its judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from lightning_sparse.analysis.claim import Claim, ClaimResult
from lightning_sparse.analysis.equivalence_claim import EquivalenceClaim
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.explanations import Explanation
from lightning_sparse.analysis.measured_descents import MeasuredDescent
from lightning_sparse.analysis.measured_rises import Quantity
from lightning_sparse.analysis.needs import Needed
from lightning_sparse.analysis.share_claim import SeedOutcome, ShareClaim, path_outcomes


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a set of rules asks of an experiment.

    What is planned, shown as missing, drawn and listed follows from its needs; nothing else has to
    name its paths.

    Attributes:
        claim: Name, statement, rule and unit.
        needs: The paths and end points that it is decided on.
        judge: Takes the records and ``headline_sparsity``; under rules 2, if it needs paths, also
            ``quantity``, since it is asked once of the loss and once of the objective.
        controls: Names of the questions that must be supported before anything is said of what a
            search did not find.
        searches_nothing: Names of its parts that hang on no search, hence on no control.
        in_short: What it says, and what its estimate is of, for a reader who sees its letter first.
        speaks: For which explanation of the laboratory it speaks if it is supported, and against
            which if it is contradicted (True); or against which it speaks if it is supported, and
            says nothing of it otherwise (False).
        counted_by: The setting that says how many of the first seeds it is asked of, for example
            ``laboratory.num_seeds_of_search``; none if it is asked of all.
    """

    claim: Claim | ShareClaim | EquivalenceClaim
    needs: Sequence[Needed]
    judge: Callable[..., ClaimResult]
    controls: Sequence[str] = ()
    searches_nothing: Sequence[str] = ()
    in_short: str = ""
    speaks: Mapping[Explanation, bool] = field(default_factory=dict)
    counted_by: str | None = None

    @property
    def name(self) -> str:
        """As in `ClaimResult.claim`."""
        return self.claim.name

    @property
    def is_about_paths(self) -> bool:
        """Whether it is decided on paths, not on end points alone."""
        return any(needed.routes for needed in self.needs)


def in_most_seeds(
    claim: ShareClaim,
    routes: tuple[Route, ...],
    outcome: Callable[[Sequence[MeasuredDescent]], SeedOutcome],
    controls: Sequence[str] = (),
    in_short: str = "",
    speaks: Mapping[Explanation, bool] | None = None,
) -> Question:
    """Ask whether something holds of the paths of most seeds, at the headline sparsity.

    Args:
        claim: Name, statement and rule.
        routes: The paths that are looked at together.
        outcome: Takes what was measured on them in one seed, in the order of ``routes``.
        controls: As in `Question`.
        in_short: As there.
        speaks: As there.
    """
    return Question(
        claim=claim,
        needs=(Needed(routes=routes),),
        judge=partial(_judge_share, claim, routes, outcome),
        controls=controls,
        in_short=in_short,
        speaks=speaks or {},
    )


def _judge_share(
    claim: ShareClaim,
    routes: Sequence[Route],
    outcome: Callable[[Sequence[MeasuredDescent]], SeedOutcome],
    experiment: ExperimentRecords,
    *,
    headline_sparsity: float,
    quantity: Quantity,
) -> ClaimResult:
    return claim.judge(
        path_outcomes(experiment, routes, outcome, sparsity=headline_sparsity, quantity=quantity)
    )
