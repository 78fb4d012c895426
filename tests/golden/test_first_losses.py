import pytest

from tests.golden.first_losses import NAMES, NUM_STEPS, first_losses, known, machine

REMEDY = "`make golden` makes them; do it before a change that must not move a number"


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("golden")


@pytest.fixture
def golden():
    if machine() not in known():
        pytest.skip(f"no golden losses of a machine with {machine()}: {REMEDY}")
    return known()[machine()]


def test_every_published_arm_and_the_curve_have_golden_losses_that_differ(golden):
    assert set(golden) == set(NAMES)
    assert {len(losses) for losses in golden.values()} == {NUM_STEPS}
    assert len({tuple(losses) for losses in golden.values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_losses_are_bit_for_bit_what_they_were(golden, runs_dir, name):
    losses = first_losses(name, runs_dir)
    moved = [
        step
        for step, pair in enumerate(zip(losses, golden[name], strict=True), 1)
        if len(set(pair)) > 1
    ]
    assert not moved, (
        f"the losses of {name} moved from step {moved[0]} on; if that is meant, say so in the "
        "commit and run `make golden`"
    )
