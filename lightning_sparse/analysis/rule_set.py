"""A set of rules of PROTOCOL.md: its questions, what stands beside them, and their judge."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import ExperimentRecords, Route
from lightning_sparse.analysis.needs import Needed, ordered
from lightning_sparse.analysis.question import Question
from lightning_sparse.errors import UserError

JudgeAll = Callable[[Sequence[Question], ExperimentRecords, float], list[ClaimResult]]


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """What is asked of an experiment, and how.

    Attributes:
        number: As records have it.
        questions: Claims and controls in the order of the table of verdicts.
        beside: Paths that are made or drawn beside those of the claims, and judged by none.
        judge_all: Judges questions at a headline sparsity.
        group_size: How many seeds an experiment has by default; as many make up one of the groups
            that are judged by themselves.
    """

    number: int
    questions: tuple[Question, ...]
    beside: tuple[Needed, ...] = ()
    judge_all: JudgeAll
    group_size: int

    def with_questions(self, further: Sequence[Question]) -> "RuleSet":
        """Ask more, at the end of the table.

        Raises:
            UserError: If a name comes twice, or a control is not asked for.
        """
        questions = (*self.questions, *further)
        names = [question.name for question in questions]
        for question in further:
            if names.count(question.name) > 1:
                raise UserError(
                    f"claim {question.name!r} comes twice under rules {self.number}; give it "
                    "another name"
                )
            lacking = [name for name in question.controls if name not in names]
            if lacking:
                raise UserError(
                    f"claim {question.name!r}: its control {lacking[0]!r} is none of rules "
                    f"{self.number}; name one of {', '.join(names)}"
                )
        return replace(self, questions=questions)

    def judge(self, experiment: ExperimentRecords, headline_sparsity: float) -> list[ClaimResult]:
        """Judge every question."""
        return self.judge_all(self.questions, experiment, headline_sparsity)

    @property
    def controls(self) -> tuple[Question, ...]:
        """The questions that others hang on."""
        names = {name for question in self.questions for name in question.controls}
        return tuple(question for question in self.questions if question.name in names)

    @property
    def claims(self) -> tuple[Question, ...]:
        """The other ones."""
        return tuple(item for item in self.questions if item not in self.controls)

    @property
    def needs(self) -> tuple[Needed, ...]:
        """Everything that an experiment makes: for claims, beside them, and for controls."""
        return (
            *(needed for question in self.claims for needed in question.needs),
            *self.beside,
            *(needed for question in self.controls for needed in question.needs),
        )

    def needs_of(self, names: Sequence[str]) -> tuple[Needed, ...]:
        """Return what the named questions need, and nothing beside; all for none.

        Raises:
            UserError: If there is no such question.
        """
        if not names:
            return self.needs
        known = {question.name: question for question in self.questions}
        for name in names:
            if name not in known:
                raise UserError(f"there is no claim {name!r}; choose one of {', '.join(known)}")
        chosen = [question for question in self.questions if question.name in names]
        return tuple(needed for question in chosen for needed in question.needs)

    @property
    def shown(self) -> tuple[Needed, ...]:
        """Paths of the claims and beside them, which every seed of an experiment has."""
        claimed = (needed for question in self.claims for needed in question.needs)
        return tuple(
            needed
            for needed in (*claimed, *self.beside)
            if needed.routes and needed.is_in_every_seed
        )

    def about(self, routes: Collection[Route]) -> list[str]:
        """Return the names of the claims that rest on any of these paths."""
        return [
            question.name
            for question in self.claims
            if any(set(routes) & set(needed.routes) for needed in question.needs)
        ]

    @property
    def routes(self) -> list[Route]:
        """Kinds of path that every seed of an experiment has, in the order of the tables."""
        return ordered(needed.by_name() for needed in self.needs if needed.is_in_every_seed)

    @property
    def searched(self) -> list[Route]:
        """Curves that are fitted again with more steps, to show how strong the search is."""
        return ordered(needed for needed in self.needs if needed.seeds == "search")

    def control_sparsity(
        self, experiment: ExperimentRecords, headline_sparsity: float
    ) -> float | None:
        """Return where the controls inside the mask lie; None if nothing was recorded there."""
        fitted = [
            route
            for needed in self.needs
            if needed.at == "control"
            for route in needed.routes
            if route.is_fitted
        ]
        return experiment.lowest_sparsity(fitted, headline_sparsity)
