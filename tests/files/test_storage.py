import os
import stat

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_bytes_atomic, write_text_atomic


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


NO_SPACE = OSError(28, "No space left on device")


def test_a_file_is_written_with_the_folders_it_needs(tmp_path):
    write_bytes_atomic(tmp_path / "a" / "b" / "file.bin", b"\x00\xff")

    assert (tmp_path / "a" / "b" / "file.bin").read_bytes() == b"\x00\xff"
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["file.bin"]


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    write_text_atomic(tmp_path / "text", "Bézier\n")

    assert (tmp_path / "text").read_bytes() == b"B\xc3\xa9zier\n"


def test_a_second_write_replaces_the_first(tmp_path):
    write_text_atomic(tmp_path / "text", "a long first version")
    write_text_atomic(tmp_path / "text", "second")

    assert (tmp_path / "text").read_text() == "second"


def test_the_file_has_the_permissions_that_the_user_wants_for_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "text", "")
        assert stat.S_IMODE((tmp_path / "text").stat().st_mode) == 0o640
    finally:
        assert os.umask(before) == 0o027


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    write_text_atomic(tmp_path / "text", "old")
    monkeypatch.setattr(os, call, failing(NO_SPACE))

    with pytest.raises(UserError, match=r"cannot write .*text: No space left .*; free some space"):
        write_text_atomic(tmp_path / "text", "new")

    assert (tmp_path / "text").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_text_atomic(tmp_path / "text", "old")
    monkeypatch.setattr(os, "fsync", failing(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        write_text_atomic(tmp_path / "text", "new")

    assert (tmp_path / "text").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UserError, match=r"cannot write .*choose another folder with runs_dir="):
        write_text_atomic(tmp_path / "file" / "text", "new")


def test_a_read_only_folder_is_reported(tmp_path, monkeypatch):
    error = PermissionError(13, "Permission denied")
    monkeypatch.setattr("tempfile.mkstemp", failing(error))

    with pytest.raises(UserError, match=r"cannot write .*text: Permission denied"):
        write_text_atomic(tmp_path / "text", "new")


def test_a_file_system_that_syncs_no_folders_is_good_enough(tmp_path, monkeypatch):
    sync = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)

    write_text_atomic(tmp_path / "text", "new")

    assert (tmp_path / "text").read_text() == "new"
