"""``python -m benchmarks``: runs rows, compares sessions, and writes the page of results."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.comparison import changes
from benchmarks.page import comparison_table, write_page
from benchmarks.records import (
    ACCELERATOR_FILE,
    CPU_FILE,
    RESULTS_DIR,
    by_session,
    read_records,
)
from benchmarks.rows import ACCELERATOR_ROWS, ROWS
from lightning_sparse.errors import UserError

PAGE = Path("SPEED.md")
_OK, _NOT_ALL_HOLD, _USER_ERROR = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0 if every claim holds (``compare``: if nothing became slower), 1 if not, 2 for
        what the user can mend.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "compare":
            return _compare(_records_file(options))
        if options.command == "page":
            write_page(options.results, options.page)
            return _OK
        return _run(options)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _USER_ERROR


def _run(options: argparse.Namespace) -> int:
    rows = _rows(options.rows, ACCELERATOR_ROWS if options.accelerator else ROWS)
    # Imported only now: help and comparisons must not wait for torch.
    from benchmarks.session import accelerator, run_session
    from benchmarks.workloads import Scale

    # Tiny runs walk the code of a GPU's rows wherever they are.
    is_on_gpu = options.accelerator and not options.tiny
    device = {"device": accelerator()} if is_on_gpu else {}
    all_hold = run_session(
        rows,
        scale=Scale(is_tiny=options.tiny, **device),
        budget=options.budget,
        seconds=options.seconds,
        file=_records_file(options),
    )
    return _OK if all_hold else _NOT_ALL_HOLD


def _compare(file: Path) -> int:
    comparison = changes(by_session(read_records(file)))
    console = Console()
    console.print(comparison_table(comparison))
    num_slower = sum(change.is_slower for change in comparison)
    console.print(f"{num_slower} of {len(comparison)} claims slower than before", highlight=False)
    return _NOT_ALL_HOLD if num_slower else _OK


def _rows(chosen: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for row in chosen:
        if row not in known:
            raise UserError(f"unknown row {row!r}; choose from {', '.join(known)}")
    return chosen or known


def _records_file(options: argparse.Namespace) -> Path:
    folder: Path = options.results
    return folder / (ACCELERATOR_FILE if options.accelerator else CPU_FILE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, print the table, keep the records")
    run.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {', '.join(ROWS)}; on a GPU of {', '.join(ACCELERATOR_ROWS)}",
    )
    run.add_argument(
        "--budget", type=float, default=1.0, help="multiple of each trial's usual time (1)"
    )
    run.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no trial after so many (no limit)"
    )
    run.add_argument("--tiny", action="store_true", help="only see that it runs; times say nothing")
    compare = commands.add_parser("compare", help="set the last session against the one before")
    page = commands.add_parser("page", help="write the page of results from the records")
    page.add_argument("--page", type=Path, default=PAGE, help=f"file to write ({PAGE})")
    for command in (run, compare, page):
        command.add_argument(
            "--results", type=Path, default=RESULTS_DIR, help=f"folder of records ({RESULTS_DIR})"
        )
    for command in (run, compare):
        command.add_argument("--accelerator", action="store_true", help="the rows of a GPU")
    return parser


if __name__ == "__main__":
    sys.exit(main())
