"""Files from a stranger in every place that a command reads: never run, one clear line."""

import io
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lightning_sparse.cli.main import main
from tests.faults.findings import note

SMOKE = "experiment=smoke"


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def as_torch(trap: Trap, *, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(
        {"weight": torch.ones(2), "trap": trap}, stream, _use_new_zipfile_serialization=zipped
    )
    return stream.getvalue()


def as_numpy(trap: Trap) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([trap], dtype=object), allow_pickle=True)
    return stream.getvalue()


FORMS = {
    "pickle": pickle.dumps,
    "torch": lambda trap: as_torch(trap, zipped=True),
    "old torch": lambda trap: as_torch(trap, zipped=False),
    "numpy": as_numpy,
}
OPENERS = {
    "pickle": pickle.loads,
    "torch": lambda data: torch.load(io.BytesIO(data), weights_only=False),
    "old torch": lambda data: torch.load(io.BytesIO(data), weights_only=False),
    "numpy": lambda data: np.load(io.BytesIO(data), allow_pickle=True),
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder with a pruned and a scratch run and the curve between them."""
    folder = tmp_path_factory.mktemp("finished")
    words = [SMOKE, f"runs_dir={folder}"]
    assert main(["train", *words, "method=prune", "capture_steps=[2]"]) == 0
    pruned = only(folder, "smoke-prune-*")
    assert main(["path", *words, f"mask_source={pruned}"]) == 0
    return folder


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def only(runs: Path, pattern: str) -> Path:
    (found,) = runs.glob(pattern)
    return found


def executed(folder: Path, what: str) -> bool:
    """Whether a trap has sprung; noted for the page of reliability."""
    has_run = (folder / "ran").exists()
    note(test="hostile files", of=what, executed=has_run)
    return has_run


@pytest.mark.parametrize("form", FORMS)
def test_each_file_is_a_trap_to_whoever_unpickles_it(tmp_path, form):
    data = FORMS[form](Trap(tmp_path / "ran"))
    OPENERS[form](data)
    assert (tmp_path / "ran").is_dir()


# Which file, in the folder of which run, is read by which command.
READ_BY = {
    "weights": ("weights.safetensors", "line path.start={pruned}:end path.end=dense:end"),
    "start": ("start.safetensors", "line path.start={pruned}:start path.end=dense:end"),
    "masks": ("masks.safetensors", "train method=scratch mask_source={pruned} seed=12"),
    "masks of an end": ("masks.safetensors", "line path.start={pruned}:end path.end=dense:end"),
    "rewound start": ("start.safetensors", "train method=lottery mask_source={pruned}"),
    "captured weights": (
        "weights_step_2.safetensors",
        "train method=lottery mask_source={pruned} rewind_step=2",
    ),
    "record": ("record.json", "train method=scratch mask_source={pruned}"),
    "record of an end": ("record.json", "line path.start={pruned}:end path.end=dense:end"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", READ_BY)
def test_a_trap_in_a_run_folder_is_refused_in_one_line_and_never_run(
    runs, tmp_path, refused, place, form
):
    name, command = READ_BY[place]
    pruned = only(runs, "smoke-prune-*")
    assert (pruned / name).is_file()
    (pruned / name).write_bytes(FORMS[form](Trap(tmp_path / "ran")))
    verb, *words = command.format(pruned=pruned).split()

    # The dense end is made first, so what is refused is the trap.
    message = refused(verb, SMOKE, f"runs_dir={runs}", *words)

    assert name in message
    assert not executed(tmp_path, f"{place}, {form}")


@pytest.mark.parametrize("form", FORMS)
def test_traps_in_all_files_of_a_folder_are_found_by_verify_and_never_run(
    runs, tmp_path, capsys, form
):
    for run_dir in runs.glob("smoke-*"):
        (run_dir / "SHA256SUMS").unlink()
        for file in run_dir.iterdir():
            if file.name != "record.json":
                file.write_bytes(FORMS[form](Trap(tmp_path / "ran")))
    assert main(["verify", str(runs)]) == 1
    shown = capsys.readouterr().out
    for name in ("masks.safetensors", "control_points.safetensors"):
        assert f"{name} is damaged or not ours" in shown
    assert not executed(tmp_path, f"all files of a folder, {form}")


@pytest.mark.parametrize("form", FORMS)
def test_a_trap_in_place_of_records_or_hashes_is_never_run(runs, tmp_path, refused, capsys, form):
    data = FORMS[form](Trap(tmp_path / "ran"))
    run_dir = only(runs, "smoke-prune-*")
    (runs / "reproduce_smoke").mkdir()
    (runs / "reproduce_smoke" / "records.jsonl").write_bytes(data)
    for name in ("SHA256SUMS", "record.json"):
        (run_dir / name).write_bytes(data)

    assert "records.jsonl" in refused("report", SMOKE, f"runs_dir={runs}")
    assert main(["verify", str(run_dir)]) == 1

    assert "record.json: not JSON" in capsys.readouterr().out
    assert not executed(tmp_path, f"records and hashes, {form}")


@pytest.mark.parametrize("form", FORMS)
def test_a_trap_in_place_of_an_export_or_of_images_is_never_run(runs, tmp_path, refused, form):
    data = FORMS[form](Trap(tmp_path / "ran"))
    for name in ("export.csv", "export.jsonl", "train.beton", "val.beton"):
        (tmp_path / name).write_bytes(data)
    words = [SMOKE, f"runs_dir={runs}"]

    for name in ("export.csv", "export.jsonl"):
        assert name in refused("report", *words, f"report.runs={tmp_path / name}")
    images = ("data=imagenet_ffcv", f"data.root={tmp_path}", f"data.image_root={tmp_path}")
    assert str(tmp_path) in refused("train", *words, *images)

    assert not executed(tmp_path, f"exports and images, {form}")


def test_a_sweep_file_that_asks_to_run_something_is_never_obeyed(tmp_path, refused):
    file = tmp_path / "trap.yaml"
    file.write_text(f"method: !!python/object/apply:os.mkdir [{tmp_path / 'ran'}]\n")

    assert "trap.yaml, line 1: could not determine a constructor" in refused(
        "multirun", SMOKE, f"sweep.file={file}"
    )

    yaml.unsafe_load(file.read_text())
    assert (tmp_path / "ran").is_dir()
    (tmp_path / "ran").rmdir()
    assert "trap.yaml, line 1: could not determine a constructor" in refused(
        "multirun", SMOKE, f"sweep.file={file}"
    )
    assert not executed(tmp_path, "sweep file")


def test_a_class_that_a_record_names_is_never_built(runs, tmp_path):
    """Records carry settings, whose ``_target_`` the program builds when a user gives it."""
    trap = {
        "_target_": "os.mkdir",
        "path": str(tmp_path / "ran"),
        "_args_": [str(tmp_path / "ran")],
    }
    pruned = only(runs, "smoke-prune-*")
    body = json.loads((pruned / "record.json").read_text())
    body["config"] |= {"model": trap, "data": trap}
    body["config"]["method"]["sparse_method"] = trap
    (pruned / "record.json").write_text(json.dumps(body))
    words = [SMOKE, f"runs_dir={tmp_path}/new", f"mask_source={pruned}"]

    assert main(["train", *words, "method=lottery"]) == 0
    assert main(["verify", str(pruned)]) == 1

    assert not executed(tmp_path, "a class that a record names")


LEADS_OUT = ["../up", "/tmp/up", "a/../../up", "a\\u0000b", "a\\nb", "a\\tb", ".", ".."]  # noqa: S108


@pytest.mark.parametrize("name", [*LEADS_OUT, "a//b", "", ".hidden", "-x"])
@pytest.mark.parametrize("field", ["experiment_name", "method.name", "reproduce.dir"])
def test_a_name_that_leads_out_of_the_runs_is_refused_and_nothing_is_made(
    tmp_path, refused, field, name
):
    runs_dir = tmp_path / "inside" / "runs"
    message = refused("reproduce", SMOKE, f"runs_dir={runs_dir}", f'{field}="{name}"')
    assert f"{field}=" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\x1b[31m", "x" * 5000, ""])
@pytest.mark.parametrize("field", ["runs_dir", "mask_source", "path.start", "path.end"])
def test_a_place_that_no_file_system_has_is_one_clear_line(tmp_path, refused, field, name):
    verb = "line" if field.startswith("path.") else "train"
    word = f"{field}='{name}'"
    message = refused(verb, SMOKE, f"runs_dir={tmp_path}/runs", "method=scratch", word)
    assert message.startswith(f"{field}="), message
    assert len(message) < 300
    assert list(tmp_path.iterdir()) == []
