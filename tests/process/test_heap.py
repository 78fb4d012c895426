import subprocess
import sys

from lightning_sparse.process.heap import keep_freed_memory

# Large tensors that come and go, as the activations of a step do; counted are page faults.
STEPS = """
import resource, sys, torch
from lightning_sparse.process.heap import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def faults_of_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(10 * 2**20) for _ in range(2)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The heap has found its shape after a few steps.
print([faults_of_step() for _ in range(30)][-1])
"""


def test_a_step_finds_its_memory_where_the_last_one_left_it():
    def faults(*words):
        done = subprocess.run(
            [sys.executable, "-c", STEPS, *words], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    # Pages may be huge and faults few, so it is the ratio that counts.
    assert faults() > 10 * faults("keep")


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())

    assert not keep_freed_memory()
