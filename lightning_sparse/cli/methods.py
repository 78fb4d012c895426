"""``lightning-sparse methods``: tune, train and set beside each other. No torch in here."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.claim import ClaimResult, to_json
from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.method_rules import METHOD_RULES
from lightning_sparse.analysis.needs import arms_of
from lightning_sparse.cli.pilot import best_of, entries_of, make_trials
from lightning_sparse.cli.report import CLAIMS_FILE, RECORDS_FILE, read_experiment, say_verdicts
from lightning_sparse.errors import UserError
from lightning_sparse.execution.session import make_all_that_converge, places
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.pipeline.jobs import with_needs
from lightning_sparse.pipeline.places import AbstractPlaces
from lightning_sparse.planning.methods import by_depth, check, plan_all
from lightning_sparse.planning.pilot import plan_arm, plan_stage, trials_of
from lightning_sparse.process.locks import held
from lightning_sparse.records import Record
from lightning_sparse.records import to_json as record_json
from lightning_sparse.report.methods_page import write_methods
from lightning_sparse.report.pages import PAGE
from lightning_sparse.settings.arms import arms, unmasked
from lightning_sparse.settings.compose import Composed, with_values
from lightning_sparse.settings.variants import one_device_each

PILOT_FILE = "pilot.jsonl"


def run(settings: Composed) -> None:
    """Tune every arm on the pilot seeds, train all on the report seeds, judge and report.

    Raises:
        DivergedError: After the report, if something left the finite numbers, and is missing there.
    """
    check(settings)
    console = Console()
    at, settings = places(settings, console), one_device_each(settings)
    folder = methods_dir(settings)
    with held(folder / ".lock", _refuse):
        if settings.methods.tunes:
            settings = tuned(settings, at, folder / PILOT_FILE, console)
        jobs = plan_all(settings)
        diverged = make_all_that_converge(jobs, at, console)
        if lines := [record_json(job.record()) for job in with_needs(jobs) if job.is_finished]:
            write_text_atomic(folder / RECORDS_FILE, "\n".join(lines) + "\n")
            report(settings, console)
        if diverged is not None:
            raise diverged


def tuned(settings: Composed, at: AbstractPlaces, file: Path, console: Console) -> Composed:
    """Adopt for every arm what its own objective chooses, sources before what builds on them.

    Args:
        settings: As composed.
        at: Where the trials go.
        file: Where every trial is kept, as JSON Lines.
        console: Where it is said what was chosen.
    """
    entries = []
    for names in by_depth(settings.methods.arms, arms(settings)):
        trials = plan_stage(settings, trials_of(settings, names), plan_arm)
        make_trials(trials, at, console)
        found = entries_of("arm", trials, settings.pilot.seeds)
        entries += found
        chosen = best_of(found)
        settings = with_values(settings, [item for items in chosen.values() for item in items])
        for items in chosen.values():
            console.print(" ".join(items), markup=False, highlight=False, soft_wrap=True)
    write_text_atomic(file, "".join(json.dumps(entry) + "\n" for entry in entries))
    return settings


def report(settings: Composed, console: Console) -> None:
    """Judge the claims whose arms are all there, and write the page."""
    folder = methods_dir(settings)
    records = read_experiment(folder / RECORDS_FILE, settings)
    claims = judged(settings, records)
    write_text_atomic(folder / CLAIMS_FILE, to_json(claims))
    title = settings.reproduce.title
    write_methods(records, claims, arms(settings), title=title, folder=folder)
    say_verdicts(claims, folder / PAGE, console)


def judged(settings: Composed, records: Sequence[Record]) -> list[ClaimResult]:
    """Judge the claims whose arms are all there."""
    rules, without_masks = METHOD_RULES, unmasked(settings)
    named = set(settings.methods.arms)
    asked = [
        question
        for question in rules.questions
        if named.issuperset(sum(arms_of(question.needs, without_masks), ()))
    ]
    experiment = ExperimentRecords.from_records(records)
    return rules.judge_all(asked, experiment, settings.sparsity)


def methods_dir(settings: Composed) -> Path:
    """Return the folder that records, claims and page go to."""
    return Path(settings.runs_dir, settings.methods.dir)


def _refuse(owner: str) -> None:
    raise UserError(
        f"{owner} sets these methods beside each other already; wait for it, stop it, or choose "
        "another folder with methods.dir=..."
    )
