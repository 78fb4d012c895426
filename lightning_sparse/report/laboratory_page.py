"""The page of the laboratory: three explanations, what speaks for and against each, and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.explanations import EXPLANATIONS
from lightning_sparse.analysis.laboratory import ENDS, ESCAPES, SIGNS, all_questions, speaking
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.statistics import t_interval
from lightning_sparse.records import RunRecord
from lightning_sparse.report.blocks import (
    Badge,
    Block,
    Document,
    Inline,
    Paragraph,
    Picture,
    Row,
    Section,
    Small,
    Table,
    Text,
)
from lightning_sparse.report.claims_tables import (
    estimate_words,
    interval_words,
    rules_table,
    seeds_table,
    verdict_sentence,
    verdict_table,
)
from lightning_sparse.report.descents_table import descents_table
from lightning_sparse.report.drawing import drawing, picture
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.lowest_figure import lowest_blocks
from lightning_sparse.report.measurement_tables import record_blocks
from lightning_sparse.report.pages import write_pages
from lightning_sparse.report.searches_table import degrees_table, searches_table
from lightning_sparse.report.shares_figure import shares_blocks
from lightning_sparse.report.sparsity_figure import use_log_scale
from lightning_sparse.report.spectra_figure import spectra_blocks
from lightning_sparse.report.style import NONE, listed, number, percent

QUESTION = (
    "Training from a new random start inside a good sparse mask ends above what pruning reaches "
    "with that mask, and the paper closes with the remark that extra dimensions may be needed to "
    "get away from there. Is it the subspace, the mask, the start, or the time?"
)


FIGURES = {
    "shares": "How far the loss climbs against the share of coordinates that is free",
    "escapes": "Loss against steps after the scratch solution",
    "lowest": "Loss along the path inside the mask that climbs least, seed by seed",
}
"""Of the page, by name, those that answer the question: what each shows."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the loss of the batch went in one run.

    Attributes:
        arm: Of the run.
        seed: Of the run.
        steps: Optimizer steps in increasing order.
        losses: Cross-entropy of the batch there, in nats.
    """

    arm: str
    seed: int
    steps: Sequence[int]
    losses: Sequence[float]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        numbers = [*self.steps, *self.losses]
        is_drawn = all(type(value) in {int, float} and math.isfinite(value) for value in numbers)
        if not is_drawn or len(self.steps) != len(self.losses) or not self.steps:
            raise ValueError("steps and losses must be as many numbers, at least one")


def write_page(
    findings: Findings,
    claims: Sequence[ClaimResult],
    courses: Sequence[Course],
    *,
    title: str,
    folder: Path,
) -> None:
    """Write ``report.html``, ``report.md`` and ``figures/`` into a folder; missing runs are named.

    Args:
        findings: Every run and path of the laboratory, and what is asked of them.
        claims: The claims as judged on them.
        courses: Of the runs that go on from the scratch solution.
        title: Of the experiment.
        folder: Where to write; made if absent.
    """
    document = make_page(findings, claims, courses, title=title)
    write_pages(document, folder)


def make_page(
    findings: Findings,
    claims: Sequence[ClaimResult],
    courses: Sequence[Course],
    *,
    title: str,
) -> Document:
    """Put the page together."""
    escapes: list[Block] = [escapes_picture(findings, courses)] if courses else []
    return Document(
        title=f"{title}: the laboratory",
        opening=[
            Paragraph(QUESTION),
            explanations_table(findings.asked.questions, claims),
            Paragraph(verdict_sentence(claims)),
            *_not_asked(claims),
        ],
        sections=[
            Section("Claims", [verdict_table(claims)]),
            Section("Leaving the scratch solution", [*escapes, arms_table(findings, ESCAPES)]),
            Section("How many coordinates must be free?", _shares(findings)),
            Section(
                "A stronger search inside the mask",
                [
                    *lowest_blocks(findings),
                    searches_table(findings),
                    *_controls(findings, claims),
                ],
            ),
            Section("Signs and magnitudes", [arms_table(findings, SIGNS)]),
            Section("Is the way down outside the mask?", [descents_table(findings)]),
            Section("Curvature along the curve inside the mask", spectra_blocks(findings)),
            Section("Seeds", [seeds_table(claims, _SEEDS)]),
            Section("Rules", [rules_table(claims, findings)]),
            Section("Records", record_blocks(findings)),
        ],
    )


def _not_asked(claims: Sequence[ClaimResult]) -> list[Block]:
    names = {claim.claim for claim in claims}
    lacking = [one.name for one in all_questions() if one.name not in names]
    return [Paragraph(f"Not asked here: {listed(lacking)}.", "note")] if lacking else []


def _controls(findings: Findings, claims: Sequence[ClaimResult]) -> list[Block]:
    """Say which controls the verdicts on what a search did not find hang on, and how they came out.

    Nothing where none was asked for.
    """
    asked = {question.name for question in findings.asked.controls}
    controls = [claim for claim in claims if claim.claim in asked]
    hanging = [question.name for question in findings.asked.claims if question.controls]
    if not controls:
        return []
    pieces: list[Inline] = [
        f"The verdict of {listed(hanging)} hangs on two controls, in which the same search must "
        "find what is there: "
    ]
    for place, control in enumerate(controls):
        pieces += [", " if place else "", f"{control.claim} ", Badge(control.verdict)]
        pieces += [f"{control.qualifier} (n = {control.num_seeds})"]
    return [Paragraph([*pieces, "."])]


def _shares(findings: Findings) -> list[Block]:
    blocks = shares_blocks(findings)
    return [*blocks, degrees_table(findings)] if len(blocks) > 1 else blocks


_SEEDS = (
    "What was judged in each seed, as the rule of each claim says below: of ratios their "
    "logarithm; of what holds in most seeds the R or H, in nats, that decides it."
)


def explanations_table(asked: Sequence[Question], claims: Sequence[ClaimResult]) -> Table:
    """Set what speaks for, and what against, beside each of the three explanations.

    Args:
        asked: What was asked, which says what a claim speaks for.
        claims: As judged.
    """
    in_short = {question.name: question.in_short for question in asked}
    rows = []
    for explanation, words in EXPLANATIONS.items():
        cells = [_cell(results, in_short) for results in speaking(asked, claims, explanation)]
        rows.append(Row([words, *cells]))
    return Table(
        columns=["explanation", "speaks for it", "speaks against it", "undecided"],
        rows=rows,
        caption=(
            "Explanations of the gap, on the same seeds and given masks; of each claim the "
            "verdict, the estimate with its 95 % interval, and the number of seeds."
        ),
    )


def _cell(results: Sequence[ClaimResult], in_short: Mapping[str, str]) -> Text:
    pieces: list[Inline] = []
    for result in results:
        numbers = (
            f"{estimate_words(result)} [{interval_words(result)}], n = {result.num_seeds}"
            if result.num_seeds
            else "asked of no seed"
        )
        words = in_short.get(result.claim, "")
        pieces += [f"{result.claim} ", Badge(result.verdict), result.qualifier, " "]
        pieces += [Small(f"{words}: {numbers}" if words else numbers)]
    return pieces or NONE


def arms_table(findings: Findings, arms: Sequence[str]) -> Table:
    """List what was trained, the plain arms first, with what it cost."""
    cost = _mean_cost(_runs(findings, ENDS[1]))
    numbers = ["seeds", "training loss [nats]", "95 % interval", "test accuracy [%]", "FLOPs"]
    return Table(
        columns=["arm", *numbers],
        rows=[_arm_row(findings, arm, cost) for arm in (*ENDS, *arms)],
        caption=(
            "Ends of training: geometric means of the training loss over seeds. FLOPs are the "
            "theoretical operations of the run itself, without the runs that it starts from, in "
            "those of the scratch run."
        ),
        numeric=frozenset(numbers),
    )


def _runs(findings: Findings, arm: str) -> list[RunRecord]:
    return findings.arm(arm, findings.headline_sparsity)


def _arm_row(findings: Findings, arm: str, unit: float | None) -> Row:
    runs = _runs(findings, arm)
    words = findings.looks.words(arm)
    if not runs:
        return Row([words, "0", NONE, NONE, NONE, NONE])
    logs = [math.log(run.train.loss) for run in runs]
    interval = t_interval(logs)
    cost = _mean_cost(runs)
    accuracy = sum(run.test.accuracy for run in runs) / len(runs)
    return Row(
        [
            words,
            str(len(runs)),
            number(math.exp(sum(logs) / len(logs))),
            " to ".join(number(math.exp(end)) for end in interval) if interval else NONE,
            percent(accuracy),
            number(cost / unit) if cost and unit else NONE,
        ]
    )


def _mean_cost(runs: Sequence[RunRecord]) -> float | None:
    """Return operations per image times steps; batches are equally large in all arms."""
    costs = [run.flops.training * (run.num_steps - run.rewind_step) for run in runs if run.flops]
    return sum(costs) / len(costs) if costs else None


def escapes_picture(findings: Findings, courses: Sequence[Course]) -> Picture:
    """Draw loss against steps of the runs that go on from the scratch solution.

    Those that take several times as long have a panel of their own, with the same axis of losses.
    """
    by_arm: Mapping[str, list[Course]] = {
        arm: own for arm in ESCAPES if (own := [course for course in courses if course.arm == arm])
    }
    last = {arm: max(own[0].steps) for arm, own in by_arm.items()}
    longer = {arm for arm in by_arm if last[arm] > _LONGER * min(last.values())}
    with drawing(7.4, 5.2) as figure:
        widths = [3, 2] if longer else [1]
        panels = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
        for arm, own in by_arm.items():
            panels[int(arm in longer)].plot(
                *_geometric_means(own), label=findings.looks.words(arm),
                color=findings.looks.colour(arm), linewidth=1.3,
            )  # fmt: skip
        for place, axes in enumerate(panels):
            _draw_ends(axes, findings, is_labelled=place == 0)
            use_log_scale(axes)
            axes.set_xlabel("optimizer steps from S")
        panels[0].set_ylabel("cross-entropy of the batch [nats]")
        figure.legend(loc="outside lower center", ncols=2)
        return picture(figure, "escapes", _caption(by_arm))


_LONGER = 2  # times the steps of the others


def _draw_ends(axes: Axes, findings: Findings, *, is_labelled: bool) -> None:
    """Draw where pruning and scratch end, measured as everywhere else."""
    for arm, dashes in zip(ENDS, ("--", ":"), strict=True):
        if runs := _runs(findings, arm):
            level = math.exp(sum(math.log(run.train.loss) for run in runs) / len(runs))
            label = f"end of {findings.looks.words(arm)}, evaluated" if is_labelled else None
            axes.axhline(level, color="#5a5a5a", linewidth=1.0, linestyle=dashes, label=label)


def _geometric_means(courses: Sequence[Course]) -> tuple[list[int], list[float]]:
    """Average over runs at the steps that all of them were looked at, and return both."""
    by_step = [dict(zip(course.steps, course.losses, strict=True)) for course in courses]
    steps = sorted(set.intersection(*map(set, by_step)))
    columns = [[losses[step] for losses in by_step] for step in steps]
    return steps, [
        math.exp(sum(math.log(max(loss, _SMALLEST)) for loss in column) / len(column))
        for column in columns
    ]


_SMALLEST = 1e-6  # of a batch that is fitted perfectly, whose logarithm would be none


def _caption(by_arm: Mapping[str, Sequence[Course]]) -> str:
    most = max(len(courses) for courses in by_arm.values())
    return (
        "Cross-entropy of the training batch, augmented and in training mode, against optimizer "
        f"steps after the scratch solution S: geometric means over up to {most} seeds. Horizontal: "
        "where scratch and pruning end, in evaluation mode and without augmentation, so not where "
        "these lines begin. What took several times the steps has a panel of its own. The loss "
        "axis is logarithmic."
    )
