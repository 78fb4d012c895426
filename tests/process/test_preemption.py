"""A request to stop is never lost, whatever the process is in the middle of."""

import os
import signal
import sys
import time
import weakref

import pytest

from lightning_sparse.process.preemption import Preempted, ends_when_asked

SECONDS = 10


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


class AskedWhenFreed:
    def __del__(self):
        ask_to_stop()


def free_with_finalizer():
    thing = AskedWhenFreed()
    del thing


def free_with_callback():
    thing = type("Plain", (), {})()
    watch = weakref.ref(thing, lambda _: ask_to_stop())
    del thing
    assert watch() is None


def wait():
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("act", [ask_to_stop, free_with_finalizer, free_with_callback])
def test_a_request_is_raised_in_the_block_wherever_it_comes(act):
    with pytest.raises(Preempted, match="stopped by SIGTERM"), ends_when_asked():
        [step() for step in (act, wait)]


def test_another_error_in_a_finalizer_is_still_said(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: said.append(ignored.exc_type))

    class Fails:
        def __del__(self):
            raise ValueError

    with ends_when_asked():
        thing = Fails()
        del thing

    assert said == [ValueError]
