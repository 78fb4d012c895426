"""``lightning-sparse verify FOLDER...``: does what runs left behind agree with their records?"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_sparse.errors import UserError, as_line
from lightning_sparse.files.manifests import HASHES_FILE, has_hashes, wrong_hashes
from lightning_sparse.records import RECORD_FILE, Record, RunRecord, read_record
from lightning_sparse.settings.identity import recorded_id

_INTACT, _WRONG = 0, 1

BUILD = "--build"


def run(folders: Sequence[str]) -> int:
    """Check finished runs and say in one line each what is wrong with them.

    Args:
        folders: Folders of runs or paths, or folders that hold such folders; among them may be
            ``--build``: build networks and curves too, from records that are one's own.

    Returns:
        Exit status: 0 if nothing is wrong, else 1.

    Raises:
        UserError: If there is nothing to check.
    """
    builds = BUILD in folders
    folders = [folder for folder in folders if folder != BUILD]
    if not folders:
        raise UserError("verify what? name run folders, for example runs/NAME, or runs for all")
    run_dirs = [run_dir for folder in folders for run_dir in _run_dirs(folder)]
    num_wrong = 0
    for run_dir in run_dirs:
        try:
            lines = list(problems(run_dir, builds=builds))
        except OSError as error:
            lines = [f"cannot be read: {error}"]
        num_wrong += bool(lines)
        for line in lines:
            print(as_line(f"{run_dir}: WRONG: {line}"))
        if not lines:
            hashes = (
                "" if has_hashes(run_dir) else f", by its record alone: it has no {HASHES_FILE}"
            )
            print(as_line(f"{run_dir}: intact{hashes}"))
    print(f"{len(run_dirs)} checked, {num_wrong} wrong")
    return _WRONG if num_wrong else _INTACT


def problems(run_dir: Path, *, builds: bool = False) -> Iterator[str]:
    """Yield one line for everything about a finished run or path that does not agree.

    Args:
        run_dir: Its folder.
        builds: Whether to build the network of a run or the curve of a path, which runs the code
            that its record names.
    """
    if has_hashes(run_dir):
        yield from wrong_hashes(run_dir)
    try:
        record = read_record(run_dir)
    except UserError as error:
        yield str(error)
        return
    try:
        if (by_config := recorded_id(record)) != record.run_id:
            yield f"record.json: run_id={record.run_id}, by its recorded settings it is {by_config}"
    except UserError as error:
        yield str(error)
    yield from _problems_of(record, run_dir, builds=builds)
    if builds and isinstance(record, RunRecord):
        from lightning_sparse.execution.rebuild import problems_of_network

        yield from problems_of_network(record, run_dir)


def _problems_of(record: Record, run_dir: Path, *, builds: bool) -> Iterator[str]:
    # Imported only now: a mistyped folder must not wait for torch.
    from lightning_sparse.paths.verification import problems_of_path
    from lightning_sparse.settings.objects import build_curve
    from lightning_sparse.training.verification import problems_of_run

    if isinstance(record, RunRecord):
        yield from problems_of_run(record, run_dir)
        return
    curve = None
    if builds and record.degree is None:
        try:
            curve = build_curve(record.config["curve"])
        except (UserError, KeyError) as error:
            yield f"record.json: its curve cannot be built: {error}"
    yield from problems_of_path(record, run_dir, curve)


def _run_dirs(folder: str) -> list[Path]:
    """Return the folder itself if it is a run's, else the finished runs right inside it."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"verify {folder}: there is no such folder; name one, such as runs/NAME")
    if (path / RECORD_FILE).is_file() or has_hashes(path):
        return [path]
    inside = sorted(file.parent for file in path.glob(f"*/{RECORD_FILE}"))
    if not inside:
        raise UserError(f"verify {folder}: holds no {RECORD_FILE}, so no finished run; train first")
    return inside
