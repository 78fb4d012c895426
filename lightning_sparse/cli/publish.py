"""``lightning-sparse publish``: keep the small files behind published numbers under results/."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import rules_of
from lightning_sparse.cli import laboratory, report
from lightning_sparse.cli.methods import PILOT_FILE, methods_dir
from lightning_sparse.cli.report import CLAIMS_FILE, RECORDS_FILE, read_experiment, report_dir
from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_bytes_atomic
from lightning_sparse.records import NEWEST_RULES
from lightning_sparse.settings.compose import Composed

RESULTS_DIR = Path("results")
RECORDS = (RECORDS_FILE, CLAIMS_FILE)
HEADLINE_FILE, SEARCH_FILE = "headline.png", "search.png"


def results_dir(experiment: str, rules: int) -> Path:
    """Return where results are published: those of older rules beside the others, and named so."""
    folder = RESULTS_DIR if rules == NEWEST_RULES else RESULTS_DIR / f"rules_{rules}"
    return folder / experiment


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a command that reports has left, and what of it is kept.

    Attributes:
        command: The command, for messages.
        folder: Where it wrote.
        files: Names of what is kept there; ``*`` stands for all of a kind.
        kept_as: Another name for some of it under results/.
        place: Folder under that of the experiment.
        if_drawn: Names of further files, each kept where the command has made it.
    """

    command: str
    folder: Path
    files: tuple[str, ...]
    kept_as: Mapping[str, str]
    place: str = ""
    if_drawn: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether it has been made."""
        return (self.folder / RECORDS_FILE).is_file()

    def copies(self) -> Iterator[tuple[Path, str]]:
        """Yield each file with its name under results/.

        Raises:
            UserError: If one is missing.
        """
        for pattern in self.files:
            found = sorted(self.folder.glob(pattern))
            if not found:
                raise UserError(f"no file {self.folder / pattern}; run `{self.command}` first")
            yield from map(self._copy, found)
        yield from (self._copy(self.folder / name) for name in self._drawn())

    def _drawn(self) -> list[str]:
        return [name for name in self.if_drawn if (self.folder / name).is_file()]

    def _copy(self, file: Path) -> tuple[Path, str]:
        name = file.relative_to(self.folder).as_posix()
        return file, self.kept_as.get(name, name)


def finished(settings: Composed) -> list[Finished]:
    """Return what can be published of an experiment, whether it has been made or not."""
    page = ("report.md", "figures/*.png")
    if settings.methods.arms:
        files = (*RECORDS, PILOT_FILE, *page)
        folder = methods_dir(settings)
        return [Finished(command="make methods", folder=folder, files=files, kept_as={})]
    headline, search = "figures/headline.png", "figures/search.png"
    return [
        Finished(
            command="make reproduce",
            folder=report_dir(settings),
            files=(*RECORDS, headline),
            kept_as={headline: HEADLINE_FILE, search: SEARCH_FILE},
            if_drawn=(search,),
        ),
        Finished(
            command="make laboratory",
            folder=laboratory.folder_of(settings),
            files=(*RECORDS, laboratory.COURSES_FILE, *page),
            kept_as={},
            place=laboratory.PLACE,
        ),
    ]


def run(settings: Composed) -> None:
    """Copy what has been made to `results_dir`, by the rules of its time.

    Of an experiment its records, claims, headline figure and, where its search went on, the figure
    of that, and the laboratory's page with what is behind it; of one that sets methods beside each
    other their page, and the pilot. Nothing is copied unless all of it is there. Records of other
    machines, where the settings name some, are put together and judged first.
    """
    if settings.report.records:
        report.run(settings)
    known = finished(settings)
    # Where nothing has been made, the first says what is missing.
    made = [one for one in known if one.is_there] or known[:1]
    copies = {_target(one, settings): list(one.copies()) for one in made}
    for target, files in copies.items():
        for file, name in files:
            write_bytes_atomic(target / name, file.read_bytes())
        Console().print(f"copied to {target}", highlight=False)


def _target(one: Finished, settings: Composed) -> Path:
    if not one.is_there:
        next(one.copies())  # says so
    records = read_experiment(one.folder / RECORDS_FILE, settings)
    return results_dir(settings.experiment_name, rules_of(records)) / one.place
