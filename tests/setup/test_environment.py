"""The set-up script's decisions, on environments made of empty files."""

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tools import environment as script
from tools.environment import Environment

SCRIPT = Path(script.__file__)


@pytest.fixture
def made(tmp_path: Path) -> Environment:
    """An environment that was set up, as far as files tell."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    packages = tmp_path / ".venv/lib/python3.11/site-packages"
    for package in ("pip", "torch"):
        (packages / package / "lib").mkdir(parents=True)
        (packages / package / "__init__.py").touch()
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    environment = Environment(tmp_path)
    environment.write_stamp()
    return environment


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; every stub in it logs its call."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def stub(commands: Path, name: str, *, status: int) -> None:
    command = commands / name
    command.write_text(f'#!/bin/sh\necho "{name} $*" >> "{commands}/log"\nexit {status}\n')
    command.chmod(0o755)


def calls(commands: Path) -> list[str]:
    log = commands / "log"
    return log.read_text().splitlines() if log.exists() else []


def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_an_environment_that_fits_its_stamp_is_left_alone(made):
    assert made.diagnose() == ("nothing", "")


def test_an_environment_that_was_never_made_is_made(tmp_path):
    assert Environment(tmp_path).diagnose() == ("rebuild", "there is no environment yet")


def test_a_file_in_its_place_is_no_environment(tmp_path):
    (tmp_path / ".venv").touch()
    assert Environment(tmp_path).diagnose()[0] == "rebuild"


def test_an_interpreter_that_was_removed_is_noticed(made):
    made.python.unlink()
    made.python.symlink_to("/nowhere/python3")
    assert made.diagnose() == ("rebuild", "its interpreter is missing")


def test_another_interpreter_in_its_place_is_noticed(made):
    made.python.unlink()
    made.python.symlink_to("/bin/sh")
    assert made.diagnose()[0] == "rebuild"


def test_a_missing_pip_is_noticed(made):
    (made.packages / "pip/__init__.py").unlink()
    assert made.diagnose() == ("rebuild", "its pip is missing")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null"])
def test_an_interrupted_set_up_goes_on_in_place(made, content):
    made.stamp_file.unlink()
    if content is not None:
        made.stamp_file.write_text(content)
    assert made.diagnose() == ("install", "an earlier set-up did not finish")


def test_new_requirements_are_installed_in_place(made):
    (made.root / "pyproject.toml").write_text("[project]\nname = 'more'\n")
    assert made.diagnose() == ("install", "pyproject.toml changed")


def test_settings_of_the_tools_are_no_requirements(made):
    (made.root / "pyproject.toml").write_text("[project]\n[tool.ruff]\nline-length = 100\n")
    assert made.diagnose()[0] == "nothing"


@pytest.mark.parametrize("damage", ["torch/__init__.py", "torch/lib"])
def test_damaged_packages_are_noticed(made, damage):
    path = made.packages / damage
    path.rmdir() if path.is_dir() else path.write_text("raise ImportError")
    assert made.diagnose() == ("install", "its packages changed")


def test_a_command_that_was_removed_is_noticed(made):
    (made.python.parent / "pytest").touch()
    made.write_stamp()
    (made.python.parent / "pytest").unlink()
    assert made.diagnose() == ("install", "its commands changed")


def test_bytecode_that_appears_changes_nothing(made):
    (made.packages / "__pycache__").mkdir()
    (made.packages / "__pycache__/six.pyc").touch()
    assert made.diagnose()[0] == "nothing"


def test_a_moved_environment_is_made_anew(made, tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    for name in (".venv", "pyproject.toml"):
        (made.root / name).rename(place / name)
    assert Environment(place).diagnose() == ("rebuild", "its place changed")


def test_the_fast_path_runs_no_command_and_says_nothing(made, commands, capfd):
    assert script.main(["--quiet"], root=made.root) == 0
    assert capfd.readouterr() == ("", "")
    assert calls(commands) == []


def test_packages_that_cannot_be_imported_lead_to_a_new_environment(made, monkeypatch, capfd):
    (made.root / "pyproject.toml").write_text("[project]\nname = 'more'\n")
    imports = iter([False, True])
    rebuilt = []
    monkeypatch.setattr(script, "install", lambda _: True)
    monkeypatch.setattr(script, "create", lambda _: rebuilt.append(True))
    monkeypatch.setattr(script, "add_ffcv", lambda _: "")
    monkeypatch.setattr(Environment, "works", lambda *_, **__: next(imports))
    assert script.main(["--quiet"], root=made.root) == 0
    assert rebuilt == [True]
    assert made.diagnose()[0] == "nothing"
    assert "pyproject.toml changed" in capfd.readouterr().out


@pytest.mark.parametrize(("works", "rebuilt"), [(True, []), (False, [True])])
def test_a_failing_pip_ends_in_one_message_and_spares_what_works(
    made, monkeypatch, capfd, works, rebuilt
):
    made.stamp_file.unlink()
    created = []
    monkeypatch.setattr(script, "install", lambda _: False)
    monkeypatch.setattr(script, "create", lambda _: created.append(True))
    monkeypatch.setattr(Environment, "works", lambda *_, **__: works)
    assert script.main(["--quiet"], root=made.root) == 1
    error = capfd.readouterr().err
    assert error.startswith("set-up failed: pip could not install the packages")
    assert "GB are free" in error
    assert error.count("\n") == 1
    assert not made.stamp_file.exists()
    assert created == rebuilt


def test_a_python_without_venv_names_the_package_to_install(made, monkeypatch):
    monkeypatch.setattr(script, "_run", lambda command, **_: "ensurepip" not in command[-1])
    with pytest.raises(script.SetupError, match=r"apt-get install -y python3\.\d+-venv"):
        script.create(made)
    assert made.folder.is_dir()


@pytest.mark.parametrize("sudo", [1, None])
def test_where_apt_is_not_allowed_the_line_to_run_is_printed(
    made, commands, monkeypatch, capfd, sudo
):
    as_user(monkeypatch)
    stub(commands, "apt-get", status=0)
    stub(commands, "pkg-config", status=1)
    if sudo is not None:
        stub(commands, "sudo", status=sudo)
    monkeypatch.setattr(Environment, "can_import", lambda *_, **__: False)
    assert script.add_ffcv(made)
    said = capfd.readouterr().out
    assert "going on without FFCV" in said
    assert "sudo apt-get install -y g++" in said
    assert "libopencv-dev libturbojpeg0-dev && make setup" in said
    assert not any(call.startswith("apt-get") for call in calls(commands))


def test_a_user_whose_sudo_asks_nothing_may_use_apt(commands, monkeypatch):
    as_user(monkeypatch)
    stub(commands, "apt-get", status=0)
    stub(commands, "sudo", status=0)
    assert script.may_use_apt()
    assert script.apt_install(["libopencv-dev"], purpose="FFCV")
    asked, updated, installed = calls(commands)
    assert asked == "sudo -n true"
    assert updated.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq")
    assert installed.endswith("install -y --no-install-recommends libopencv-dev")


@pytest.mark.usefixtures("commands")
def test_without_apt_nothing_is_tried():
    assert not script.may_use_apt()


@pytest.mark.parametrize("need", script.TEST_NEEDS, ids=lambda need: need.name)
def test_what_only_tests_need_and_cannot_be_installed_is_tried_once(
    need, made, commands, monkeypatch, capfd
):
    absent = dataclasses.replace(need, programs=(("a-program-that-is-nowhere",),))
    monkeypatch.setattr(script, "TEST_NEEDS", (absent,))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stub(commands, "apt-get", status=0)
    stub(commands, "env", status=100)
    for _ in range(2):
        assert script.main(["--quiet", "--test-packages"], root=made.root) == 0
    assert len(calls(commands)) == 1
    assert capfd.readouterr().out.count(f"going on without {need.name}, so its tests") == 1
    assert made.diagnose()[0] == "nothing"
    assert made.notes()[need.name] == "could not be installed"


@pytest.mark.parametrize("has_fonts", [True, False])
def test_what_is_there_is_not_installed(has_fonts, made, commands, monkeypatch, tmp_path):
    browser = next(need for need in script.TEST_NEEDS if need.name == "a browser")
    folder = tmp_path if has_fonts else tmp_path / "fonts"
    browser = dataclasses.replace(browser, folders=(str(folder),))
    monkeypatch.setattr(script, "TEST_NEEDS", (browser,))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stub(commands, "chromium", status=0)
    stub(commands, "apt-get", status=0)
    stub(commands, "env", status=100)
    assert script.main(["--quiet", "--test-packages"], root=made.root) == 0
    assert len(calls(commands)) == (0 if has_fonts else 1)


def test_a_second_set_up_waits_for_the_first(tmp_path, capfd):
    done = []

    def second() -> None:
        with script.exclusive(tmp_path):
            done.append("second")

    thread = threading.Thread(target=second)
    with script.exclusive(tmp_path):
        thread.start()
        thread.join(timeout=0.3)
        done.append("first")
    thread.join(timeout=10)
    assert done == ["first", "second"]
    assert "waiting for it" in capfd.readouterr().out


def test_settings_that_send_pip_elsewhere_do_not_reach_it(made, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    assert made.run("-c", "import os, sys; sys.exit('PIP_TARGET' in os.environ)")
    assert made.run("-c", "import os, sys; sys.exit('PIP_INDEX_URL' not in os.environ)")


def test_an_older_python_gets_as_far_as_the_message_that_says_so(tmp_path):
    pretend = (
        "import runpy, sys; sys.version_info = (3, 8, 0); sys.version = '3.8.0 (old)'; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", pretend],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "set-up failed: Python 3.11 or newer is needed, but python3 is 3.8.0 (old)\n"
    )
