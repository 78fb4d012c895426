"""Folders work under any name, wherever one is given."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.settings.data_settings import compose_data_settings
from lightning_sparse.settings.places import with_literal_place

ODD = 'it\'s a=b, (c) "d" #~& {e [f ü 2012'

NAMES = [
    ODD, "2012", "02012", "1e5", "true", "inf", "a,b", "a=b", "a(b", "a#b", "a;b", "ä ö", "a$b",
    "it's", '"', "'", "a\\", "a\\'b", "[a]", "{a: b}", "choice(1,2)", "range(3)", " a ", "-a", "+a",
    "NULL", "~a", "a/2012",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_is_taken_as_it_is_and_so_it_is_by_who_is_given_the_overrides(name):
    typed = [f"runs_dir={name}", f"path.start={name}:end", f"+data.root={name}"]
    settings = compose_settings(typed)
    for _ in range(2):
        assert settings.runs_dir == name
        assert settings.path.start == f"{name}:end"
        assert settings.data["root"] == name
        settings = compose_settings(settings.source.words)
    data = compose_data_settings("data-imagenet", [f"imagenet={name}", f"out={name}"])
    assert (data.imagenet, data.out) == (name, name)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9))
def test_whatever_it_is_called(name):
    if name in {"null", "None", "~"} or "${" in name or name.startswith("~/"):
        return
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        return
    override = with_literal_place(f"out={name}")
    assert compose_data_settings("data-imagenet", [override]).out == name
    assert with_literal_place(override) == override


def test_null_quotes_interpolations_and_home_keep_their_meaning(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    settings = compose_settings(
        ["mask_source=null", "runs_dir='a,b'", "+data.root=${oc.env:HOME}", "report.runs=~/runs"]
    )
    assert settings.mask_source is None
    assert settings.runs_dir == "a,b"
    assert settings.data["root"] == "/home/me"
    assert settings.report.runs == "/home/me/runs"


def test_a_number_as_a_folder_in_a_file_is_told_of_quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("conf/data").mkdir(parents=True)
    Path("conf/data/mine.yaml").write_text("_target_: my.build\nroot: 2012\n")
    with pytest.raises(UserError, match=r"mine.yaml: data.root=2012: names a folder; put it into"):
        compose_settings(["data=mine"])


def test_runs_in_a_folder_of_an_odd_name_are_joined_and_verified(tmp_path, dense_run, capsys):
    os.chdir(tmp_path)
    shutil.copytree(dense_run, tmp_path / ODD / dense_run.name)
    folder = f"{ODD}/{dense_run.name}"
    ends = [f"path.start={folder}:start", f"path.end={folder}:end"]
    assert main(["line", "experiment=smoke", f"runs_dir={ODD}", *ends]) == 0
    assert main(["verify", ODD]) == 0
    assert "2 checked, 0 wrong" in capsys.readouterr().out
