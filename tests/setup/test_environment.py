"""The set-up script's decisions, on environments made of empty files."""

import ast
import dataclasses
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import environment as script
from tools import system_packages
from tools.virtual_environment import COMMANDS, LOCK, LOCK_WITH_FFCV, Environment

SCRIPT = Path(script.__file__)


@pytest.fixture
def made(tmp_path: Path) -> Environment:
    """An environment that was set up, as far as files tell."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "tools/locks").mkdir(parents=True)
    packages = tmp_path / ".venv/lib/python3.11/site-packages"
    for package in ("pip", "torch"):
        (packages / package / "lib").mkdir(parents=True)
        (packages / package / "__init__.py").touch()
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    for name in COMMANDS:
        (tmp_path / ".venv/bin" / name).touch()
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
    assert made.is_ready()


def test_an_environment_that_was_never_made_is_made(tmp_path):
    assert not Environment(tmp_path).is_ready()
    (tmp_path / ".venv").touch()
    assert not Environment(tmp_path).is_ready()


@pytest.mark.parametrize("other", [None, "/nowhere/python3", "/bin/sh"])
def test_another_interpreter_in_its_place_is_noticed(made, other):
    made.python.unlink()
    if other is not None:
        made.python.symlink_to(other)
    assert not made.is_ready()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null"])
def test_an_interrupted_set_up_goes_on(made, content):
    made.stamp_file.unlink()
    if content is not None:
        made.stamp_file.write_text(content)
    assert not made.is_ready()


@pytest.mark.parametrize("file", ["pyproject.toml", LOCK, LOCK_WITH_FFCV])
def test_new_requirements_are_noticed(made, file):
    (made.root / file).write_text("new")
    assert not made.is_ready()


@pytest.mark.parametrize("damage", ["torch/__init__.py", "torch/lib"])
def test_damaged_packages_are_noticed(made, damage):
    path = made.folder / "lib/python3.11/site-packages" / damage
    path.rmdir() if path.is_dir() else path.write_text("raise ImportError")
    assert not made.is_ready()


def test_a_command_that_was_removed_is_noticed(made):
    (made.python.parent / "pytest").unlink()
    assert not made.is_ready()
    assert not made.works("os")


def test_bytecode_that_appears_changes_nothing(made):
    packages = made.folder / "lib/python3.11/site-packages"
    (packages / "__pycache__").mkdir()
    (packages / "__pycache__/six.pyc").touch()
    assert made.is_ready()


def test_a_moved_environment_is_noticed(made, tmp_path):
    place = tmp_path / "elsewhere"
    place.mkdir()
    for name in (".venv", "pyproject.toml"):
        (made.root / name).rename(place / name)
    assert not Environment(place).is_ready()


def test_the_fast_path_runs_no_command_and_says_nothing(made, commands, capfd):
    assert script.main(["--quiet"], root=made.root) == 0
    assert capfd.readouterr() == ("", "")
    assert calls(commands) == []


def test_the_first_set_up_installs_from_the_lock_with_hashes_and_then_the_package(
    tmp_path, commands, monkeypatch
):
    stub(commands, "uv", status=1)
    assert script.main([], root=tmp_path) == 1
    assert [call.split()[:2] for call in calls(commands)] == [["uv", "venv"]]
    stub(commands, "uv", status=0)
    monkeypatch.setattr(script, "add_ffcv", lambda *_: "")
    monkeypatch.setattr(Environment, "works", lambda *_: True)
    (tmp_path / ".venv").mkdir()
    assert script.main([], root=tmp_path) == 0
    *_, packages, own = calls(commands)
    assert packages.endswith(f"-q --require-hashes -r {LOCK}")
    assert own.endswith("-q --no-deps --editable .")


def test_free_versions_are_asked_for_once_and_remembered(made, commands, monkeypatch):
    stub(commands, "uv", status=0)
    monkeypatch.setattr(script, "add_ffcv", lambda *_: "")
    monkeypatch.setattr(Environment, "works", lambda *_: True)
    for words in (["--versions=free"], ["--quiet"]):
        assert script.main(words, root=made.root) == 0
    assert len(calls(commands)) == 1
    assert calls(commands)[0].endswith("-q --editable .[dev]")
    assert script.main(["--versions=locked"], root=made.root) == 0
    assert calls(commands)[1].endswith(f"--require-hashes -r {LOCK}")


def test_packages_that_cannot_be_imported_lead_to_a_new_environment(
    made, commands, monkeypatch, capfd
):
    made.stamp_file.unlink()
    imports = iter([False, True])
    stub(commands, "uv", status=0)
    monkeypatch.setattr(script, "add_ffcv", lambda *_: "")
    monkeypatch.setattr(Environment, "works", lambda *_: next(imports))
    assert script.main(["--quiet"], root=made.root) == 0
    words = [call.split() for call in calls(commands)]
    kinds = ["venv" if "venv" in call else "install" for call in words]
    assert kinds == ["install", "install", "venv", "install", "install"]
    assert ["--no-cache" in call for call in words] == [False, False, False, True, True]
    assert made.is_ready()
    assert "cannot be imported" in capfd.readouterr().out


def test_packages_that_cannot_be_installed_end_in_one_message_and_the_environment_stays(
    made, commands, capfd
):
    made.stamp_file.unlink()
    stub(commands, "uv", status=1)
    assert script.main(["--quiet"], root=made.root) == 1
    error = capfd.readouterr().err
    assert error.startswith("set-up failed: the packages could not be installed")
    assert "GB are free" in error
    assert error.count("\n") == 1
    assert not made.stamp_file.exists()
    assert len(calls(commands)) == 1


@pytest.mark.usefixtures("commands")
def test_a_python_without_venv_names_the_package_to_install(made, monkeypatch):
    monkeypatch.setattr(script, "run", lambda *_, **__: False)
    with pytest.raises(script.SetupError, match=r"apt-get install -y python3\.\d+-venv"):
        script.find_uv(made)


def test_what_variables_tell_pip_of_indexes_is_told_to_uv(monkeypatch, tmp_path):
    bare = tmp_path / "python"  # as one without pip: the environment that uv makes has none
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(script.sys, "executable", str(bare))
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "mirror.example")
    told = {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}
    assert script.told_to_pip() == {**told, "UV_INSECURE_HOST": "mirror.example"}
    monkeypatch.setenv("UV_INSECURE_HOST", "own.example")
    assert script.told_to_pip() == told


def test_what_a_file_tells_pip_of_indexes_is_told_to_uv_unless_a_variable_does(
    monkeypatch, tmp_path
):
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, "-m", "pip", "--version"], check=False).returncode:
        pytest.skip("this Python has no pip")
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://of.a.file\ntrusted-host = own.example\n")
    monkeypatch.setattr(script.sys, "executable", base)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    for name in ("PIP_INDEX_URL", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    told = {"UV_INSECURE_HOST": "own.example"}
    assert script.told_to_pip() == {**told, "UV_DEFAULT_INDEX": "https://of.a.file"}
    monkeypatch.setenv("PIP_INDEX_URL", "https://of.a.variable")
    assert script.told_to_pip() == {**told, "UV_DEFAULT_INDEX": "https://of.a.variable"}


@pytest.mark.parametrize(
    ("lock", "extras"), [(LOCK, ["dev"]), (LOCK_WITH_FFCV, ["dev", "ffcv"])], ids=["plain", "ffcv"]
)
def test_the_lock_fits_what_is_required_and_names_no_index(lock, extras):
    text = (script.REPOSITORY / lock).read_text()
    project = tomllib.loads((script.REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    pins = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if line[0].isalnum()]
    locked = {pin.name: pin for pin in pins if pin.marker is None or pin.marker.evaluate()}
    for requirement in map(Requirement, wanted):
        ((_, version),) = [(s.operator, s.version) for s in locked[requirement.name].specifier]
        assert requirement.specifier.contains(version), requirement
    assert "://" not in text
    assert len(pins) == sum(
        line.startswith("    --hash") and line[-1] != "\\" for line in text.splitlines()
    )


@pytest.mark.parametrize("sudo", [1, None])
def test_where_apt_is_not_allowed_the_line_to_run_is_printed(
    made, commands, monkeypatch, capfd, sudo
):
    as_user(monkeypatch)
    stub(commands, "apt-get", status=0)
    stub(commands, "pkg-config", status=1)
    if sudo is not None:
        stub(commands, "sudo", status=sudo)
    monkeypatch.setattr(Environment, "works", lambda *_: False)
    assert script.add_ffcv(made, [])
    said = capfd.readouterr().out
    assert "going on without FFCV" in said
    assert "sudo apt-get install -y g++" in said
    assert "libopencv-dev libturbojpeg0-dev && make setup" in said
    assert not any(call.startswith("apt-get") for call in calls(commands))


def test_a_user_whose_sudo_asks_nothing_may_use_apt(commands, monkeypatch):
    as_user(monkeypatch)
    stub(commands, "apt-get", status=0)
    stub(commands, "sudo", status=0)
    assert system_packages.may_use_apt()
    assert system_packages.obtain(["libopencv-dev"], "FFCV") == ""
    _, asked, updated, installed = calls(commands)
    assert asked == "sudo -n true"
    assert updated.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq")
    assert installed.endswith("install -y --no-install-recommends libopencv-dev")


@pytest.mark.usefixtures("commands")
def test_without_apt_nothing_is_tried():
    assert not system_packages.may_use_apt()


@pytest.mark.parametrize("need", system_packages.TEST_NEEDS, ids=lambda need: need.name)
def test_what_only_tests_need_and_cannot_be_installed_is_tried_once(
    need, made, commands, monkeypatch, capfd
):
    absent = dataclasses.replace(need, programs=(("a-program-that-is-nowhere",),))
    monkeypatch.setattr(system_packages, "TEST_NEEDS", (absent,))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    stub(commands, "apt-get", status=0)
    stub(commands, "env", status=100)
    for _ in range(2):
        assert script.main(["--quiet", "--test-packages"], root=made.root) == 0
    assert len(calls(commands)) == 1
    assert capfd.readouterr().out.count(f"going on without {need.name}, so its tests") == 1
    assert made.is_ready()
    assert made.notes()[need.name] == "its system packages could not be installed"


@pytest.mark.parametrize("has_fonts", [True, False])
def test_what_is_there_is_not_installed(has_fonts, made, commands, monkeypatch, tmp_path):
    browser = next(need for need in system_packages.TEST_NEEDS if need.name == "a browser")
    folder = tmp_path if has_fonts else tmp_path / "fonts"
    browser = dataclasses.replace(browser, folders=(str(folder),))
    monkeypatch.setattr(system_packages, "TEST_NEEDS", (browser,))
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
    thread.join(timeout=60)
    assert done == ["first", "second"]
    assert "waiting for it" in capfd.readouterr().out


def test_settings_that_send_installers_elsewhere_do_not_reach_them(made, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "kept")
    said = "import os, sys; sys.exit({} in os.environ)"
    assert system_packages.run([made.python, "-c", said.format("'PIP_TARGET'")])
    assert not system_packages.run([made.python, "-c", said.format("'PIP_INDEX_URL'")])


@pytest.mark.parametrize(
    "file", ["environment.py", "virtual_environment.py", "system_packages.py", "__init__.py"]
)
def test_what_makes_the_environment_can_be_read_by_an_older_python(file):
    source = SCRIPT.with_name(file).read_text()
    ast.parse(source, feature_version=(3, 8))
    assert not {"tomllib", "StrEnum"} & set(re.findall(r"\w+", source))
