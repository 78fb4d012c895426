"""The records as the report looks at them: grouped over seeds, and numbered for reference."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lightning_sparse.analysis.experiment import ExperimentRecords, Route, route_of, unmasked_arms
from lightning_sparse.analysis.judge import rule_set
from lightning_sparse.analysis.needs import Arms, arms_of
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.arms import Arm
from lightning_sparse.records import PathRecord, Record, RunRecord
from lightning_sparse.report.blocks import Inline, Link
from lightning_sparse.report.page_rules import PAGES, PageRules
from lightning_sparse.report.style import Looks


@dataclass(frozen=True)
class Findings:
    """All records of one experiment.

    Attributes:
        records: In file order; the report numbers them R1, R2, ..., runs before paths.
        headline_sparsity: Where the paths are drawn and the claims judged, in [0, 1).
        rules: Set of rules of PROTOCOL.md that the page follows, or its number.
        arms: Those that there are, whatever has a record.
    """

    records: Sequence[Record]
    headline_sparsity: float
    rules: int | RuleSet = 1
    arms: Mapping[str, Arm] = field(default_factory=dict)

    @cached_property
    def asked(self) -> RuleSet:
        """What was asked of the records, and which paths that needs."""
        return rule_set(self.rules)

    @property
    def page(self) -> PageRules:
        """What depends on the rules."""
        return PAGES[self.asked.number]

    @cached_property
    def runs(self) -> list[RunRecord]:
        """Every end point."""
        return [record for record in self.records if isinstance(record, RunRecord)]

    @cached_property
    def paths(self) -> list[PathRecord]:
        """Every path."""
        return [record for record in self.records if isinstance(record, PathRecord)]

    @cached_property
    def sparsities(self) -> list[float]:
        """Nominal sparsities that have a sparse run, in increasing order, and the headline."""
        found = {run.target_sparsity for run in self.runs if run.is_masked}
        return sorted(found | {self.headline_sparsity})

    @cached_property
    def looks(self) -> Looks:
        """What arms are called and how they are drawn."""
        return Looks(self.arms)

    @cached_property
    def unmasked(self) -> tuple[str, ...]:
        """Arms without masks: those that claims and controls need, and others that have a run."""
        found = [run.arm for run in self.runs if not run.is_masked]
        return tuple(dict.fromkeys([*self._needed.dense, *found]))

    @cached_property
    def masked(self) -> tuple[str, ...]:
        """Arms with masks, likewise."""
        found = [run.arm for run in self.runs if run.is_masked]
        return tuple(dict.fromkeys([*self._needed.compared, *self._needed.joined, *found]))

    @cached_property
    def _needed(self) -> Arms:
        return arms_of(self.asked.needs, self._without_masks)

    @cached_property
    def _without_masks(self) -> frozenset[str]:
        known = {name for name, arm in self.arms.items() if not arm.is_masked}
        return unmasked_arms(self.runs, self.paths) | known

    def repeats(self, arm: str) -> bool:
        """Whether an arm is another run of one that is shown."""
        return arm in self.arms and self.arms[arm].repeats is not None

    def has_sparsity(self, route: Route) -> bool:
        """Whether either end of a path has masks."""
        return not self._without_masks.issuperset(route.arms)

    def arm(self, name: str, sparsity: float = 0.0) -> list[RunRecord]:
        """Return the runs of an arm at one nominal sparsity, by seed."""
        runs = [
            run
            for run in self.runs
            if run.arm == name and math.isclose(run.target_sparsity, sparsity)
        ]
        return sorted(runs, key=lambda run: run.seed)

    def along(self, route: Route, sparsity: float | None = None) -> list[PathRecord]:
        """Return the paths of one kind by seed.

        Args:
            route: The kind.
            sparsity: Nominal sparsity; None for the headline's. Between ends without masks there is
                none.
        """
        sparsity = self.headline_sparsity if sparsity is None else sparsity
        sparsity = sparsity if self.has_sparsity(route) else 0.0
        paths = [
            path
            for path in self.paths
            if route_of(path) == route and math.isclose(path.target_sparsity, sparsity)
        ]
        return sorted(paths, key=lambda path: path.seed)

    @cached_property
    def control_sparsity(self) -> float | None:
        """Where the control inside the mask lies; None if there is none, as under rules 1."""
        if not self.records:
            return None
        experiment = ExperimentRecords.from_records(self.records)
        return self.asked.control_sparsity(experiment, self.headline_sparsity)

    @cached_property
    def routes(self) -> list[tuple[Route, float]]:
        """Every kind of path with its nominal sparsity, in the order of the records."""
        return list(dict.fromkeys((route_of(path), path.target_sparsity) for path in self.paths))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        ordered: list[Record] = [*self.runs, *self.paths]
        return {record.run_id: number for number, record in enumerate(ordered, start=1)}

    def label(self, run_id: str) -> str:
        """Return the short name of a record, ``R7``; empty if there is no such record."""
        return f"R{self._numbers[run_id]}" if run_id in self._numbers else ""

    def references(self, run_ids: Iterable[str]) -> list[Inline]:
        """Return links to the rows of records; an unknown one is written out."""
        pieces: list[Inline] = []
        for run_id in run_ids:
            label = self.label(run_id)
            pieces += [" ", Link(label, f"#{label}", run_id) if label else run_id]
        return pieces[1:]


def losses_along(path: PathRecord) -> tuple[list[float], list[float]]:
    """Return every t of a path and the loss on the training subset there."""
    return [point.t for point in path.points], [point.train.loss for point in path.points]
