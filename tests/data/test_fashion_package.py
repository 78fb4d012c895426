"""The package itself where apt finds it, and what is said where it does not."""

import os
import shutil
import subprocess

import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.data.fashion_package import MD5, PACKAGE
from lightning_sparse.data.idx_folder import build_idx_folder
from tests.data.idx import write_idx_folder


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    """A folder of programs that is looked in alone, with a shell script for each name given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def with_programs(**scripts):
        for name, script in scripts.items():
            file = folder / name.replace("_", "-")
            file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            file.chmod(0o755)

    return with_programs


def said_in_one_line(out, capsys):
    assert main(["data-fashion", f"out={out}"]) == 2
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "zalandoresearch/fashion-mnist" in error
    return error


def test_without_apt_it_is_said_where_else_the_files_are(tmp_path, bin_folder, capsys):
    bin_folder()

    assert "no apt-get here" in said_in_one_line(tmp_path / "out", capsys)


def test_without_a_network_what_apt_said_is_said(tmp_path, bin_folder, capsys):
    bin_folder(apt_get="echo 'E: Failed to fetch: no route' >&2; exit 100", dpkg_deb="exit 1")

    error = said_in_one_line(tmp_path / "out", capsys)
    assert f"apt-get download {PACKAGE}: E: Failed to fetch: no route; `apt-get update`" in error


def test_a_package_of_other_files_is_refused(tmp_path, bin_folder, capsys):
    write_idx_folder(tmp_path / "set", compressed=MD5)
    path = os.defpath
    bin_folder(
        apt_get="/bin/touch package.deb",
        dpkg_deb=f"PATH={path}; cp -r {tmp_path}/set unpacked",
    )

    error = said_in_one_line(tmp_path / "out", capsys)
    assert "train-images-idx3-ubyte of the package" in error
    assert f"not {MD5['train-images-idx3-ubyte']}" in error


def test_the_real_package_becomes_a_data_set(tmp_path, capsys):
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get")
    known = subprocess.run(
        ["apt-cache", "show", PACKAGE], capture_output=True, text=True, check=False
    )
    if known.returncode:
        pytest.skip(f"apt knows no {PACKAGE}: apt-get update")
    if main(["data-fashion", f"out={tmp_path}"]) != 0:
        pytest.skip(f"cannot be fetched here: {capsys.readouterr().err}")
    assert "Fashion-MNIST, fetched, checked" in capsys.readouterr().out

    source = build_idx_folder(tmp_path)

    assert (len(source.train), len(source.test), source.num_classes) == (60_000, 10_000, 10)
    assert source.image_shape == (1, 28, 28)
    assert source.train.labels.bincount().tolist() == [6_000] * 10
    # It is not fetched twice.
    assert main(["data-fashion", f"out={tmp_path}"]) == 0
    assert "there already, checked" in capsys.readouterr().out
