"""The records as the report looks at them: grouped over seeds, and numbered for reference."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lightning_sparse.analysis.experiment import ExperimentRecords, Route, route_of
from lightning_sparse.analysis.judge import rule_set
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.records import PathRecord, Record, RunRecord
from lightning_sparse.report.blocks import Inline, Link
from lightning_sparse.report.page_rules import PAGES, PageRules

SPARSE_ARMS = ("prune", "scratch", "lottery")


@dataclass(frozen=True)
class Findings:
    """All records of one experiment.

    Attributes:
        records: In file order; the report numbers them R1, R2, ..., runs before paths.
        headline_sparsity: Where the paths are drawn and the claims judged, in [0, 1).
        rules: Set of rules of PROTOCOL.md that the page follows, or its number.
    """

    records: Sequence[Record]
    headline_sparsity: float
    rules: int | RuleSet = 1

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
        found = {run.target_sparsity for run in self.runs if run.method != "dense"}
        return sorted(found | {self.headline_sparsity})

    def arm(self, method: str, sparsity: float = 0.0) -> list[RunRecord]:
        """Return the runs of an arm at one nominal sparsity, by seed.

        The second dense run of a seed is the arm ``dense2``.
        """
        runs = [
            run
            for run in self.runs
            if run.arm == method and math.isclose(run.target_sparsity, sparsity)
        ]
        return sorted(runs, key=lambda run: run.seed)

    def along(self, route: Route, sparsity: float | None = None) -> list[PathRecord]:
        """Return the paths of one kind by seed.

        Args:
            route: The kind.
            sparsity: Nominal sparsity; None for the headline's. Between dense ends there is none.
        """
        sparsity = self.headline_sparsity if sparsity is None else sparsity
        sparsity = 0.0 if route.is_between_dense_ends else sparsity
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
