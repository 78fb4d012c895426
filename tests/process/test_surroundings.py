"""Where a command is started must not be what it ends by."""

import io
import os
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from lightning_sparse.cli.across import exported_names
from lightning_sparse.cli.main import main
from lightning_sparse.process.surroundings import prepared

REPOSITORY = Path(__file__).parents[2]

WORDS = ["train", "--settings", "experiment=smoke"]
COMMAND = "import sys; from lightning_sparse.cli.main import main; sys.exit(main())"


def run(*words: str, cwd: Path, **environment: str):
    """Start a command that never imports torch, as the console script does."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_backend_of_a_notebook_is_not_asked_for(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert main(["--version"]) == 0
    assert os.environ["MPLBACKEND"] == "agg"


def test_a_terminal_that_is_not_utf_8_shows_escapes(monkeypatch, dense_run, tmp_path):
    shutil.copytree(dense_run, tmp_path / "ü" / dense_run.name)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert main(["verify", str(tmp_path / "ü")]) == 0
    sys.stdout.flush()
    assert b"\\xfc/smoke-dense" in shown.getvalue()


def test_a_pipe_that_nobody_reads_ends_no_command(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with prepared():
            for _ in range(3):
                sys.stdout.write("line after line\n")
                sys.stdout.flush()


def test_a_closed_output_ends_no_command(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["--version"]) == 0


def test_warnings_of_libraries_are_no_errors(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", ["error"])
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with prepared():
            warnings.simplefilter("ignore")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "PYTHONWARNINGS" not in os.environ
    assert sys.warnoptions == []


def test_a_current_folder_that_was_removed_is_said(refused, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert refused("train") == "the current folder was removed; change to one that is there"


@pytest.mark.parametrize(
    "words",
    [
        ["verify", 300 * "a"],
        ["report", f"report.runs={300 * 'a'}"],
        ["multirun", f"sweep.file={300 * 'a'}"],
        ["train", f"runs_dir={300 * 'a'}"],
        ["train", "method=scratch", f"mask_source={300 * 'a'}"],
        ["path", f"path.start={300 * 'a'}:end"],
    ],
)
def test_what_the_system_refuses_of_a_folder_is_one_line(words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "File name too long" in refused(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_wandb_with_a_mark_of_its_encoding_is_read(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_bytes(b"\xef\xbb\xbfName,State\nsmoke-dense,finished\n")
    assert exported_names(file) == ["smoke-dense"]


def test_a_module_beside_the_current_folder_is_found_after_all_libraries(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [name for name in sys.path if name])
    with prepared():
        assert sys.path[-1] == str(tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel holds it, by what pyproject.toml says of wheels."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in wheel["packages"]:
        shutil.copytree(REPOSITORY / name, folder / name)
    for source, target in wheel["force-include"].items():
        shutil.copytree(REPOSITORY / source, folder / target)
    return folder


def test_installed_it_has_its_settings_and_sweeps_and_finds_the_users_own(installed, tmp_path):
    smoke = (REPOSITORY / "conf" / "experiment" / "smoke.yaml").read_text(encoding="utf-8")
    own = tmp_path / "conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(smoke.replace("sparsity: 0.9", "sparsity: 0.7"), encoding="utf-8")

    done = run("train", "experiment=mine", "--settings", cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "\nsparsity: 0.7\n" in done.stdout

    data = run("data-imagenet", "--settings", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "max_resolution: 500" in data.stdout
    no_sweep = run("multirun", "sweep.file=x", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "name one of gap, learning_rate," in no_sweep.stderr


def test_a_folder_that_is_no_folder_of_ours_has_no_settings(installed, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(installed / "lightning_sparse", bare / "lightning_sparse",
                    ignore=shutil.ignore_patterns("conf"))  # fmt: skip
    done = run(*WORDS, cwd=tmp_path, PYTHONPATH=str(bare))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no settings at {bare}/conf; install the program again")


def test_without_home_and_with_odd_encodings_settings_are_shown(tmp_path):
    nowhere = run(*WORDS, cwd=tmp_path, HOME="/nonexistent", LC_ALL="C", PYTHONIOENCODING="ascii",
                  PYTHONWARNINGS="error")  # fmt: skip
    assert nowhere.returncode == 0, nowhere.stderr
