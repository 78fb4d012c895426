import pytest

from lightning_sparse.cli.main import main
from lightning_sparse.errors import UserError, is_out_of_memory, theirs


def test_what_foreign_code_raises_becomes_one_line_with_its_cause_kept() -> None:
    one_line = pytest.raises(UserError, match=r"^data: ValueError: no row 7; mend it$")
    with one_line as caught, theirs("data", "mend it"):
        raise ValueError("no\n  row 7")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_long_message_is_cut() -> None:
    with pytest.raises(UserError) as caught, theirs("model"):
        raise RuntimeError("x" * 5000)
    assert len(str(caught.value)) < 400


def test_our_own_errors_and_lack_of_memory_pass_as_they_are() -> None:
    with pytest.raises(UserError, match=r"^ours$"), theirs("model"):
        raise UserError("ours")
    with pytest.raises(MemoryError), theirs("model"):
        raise MemoryError


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_requests_to_stop_are_no_errors(error: type[BaseException]) -> None:
    with pytest.raises(error), theirs("model"):
        raise error


def test_lack_of_memory_is_known_on_every_device() -> None:
    class OutOfMemoryError(RuntimeError): ...

    assert is_out_of_memory(OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_the_traceback_is_shown_to_who_asks_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTNING_SPARSE_TRACEBACK", "1")
    assert main(["no-such-verb"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.splitlines()[-1].startswith("error: unknown verb")
