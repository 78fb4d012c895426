import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.streams import global_generators_of, stream_generator, stream_seed

STREAMS = ("init", "init/scratch", "order", "augment", "mask", "curve", "network")
places = st.tuples(
    st.integers(0, 99), st.sampled_from(STREAMS), st.lists(st.integers(0, 99), max_size=3)
)


def test_seeds_are_what_they_were_when_the_first_results_were_published():
    assert stream_seed(11, "init") == 2851755654627623624
    assert stream_seed(11, "curve", 7, 0) == 4716565836360944353


@given(places, places)
def test_other_places_have_other_seeds(first, second):
    seeds = [stream_seed(seed, stream, *counters) for seed, stream, counters in (first, second)]

    assert (seeds[0] == seeds[1]) == (first == second)


@given(places)
def test_seeds_fit_into_63_bits(place):
    seed, stream, counters = place

    assert 0 <= stream_seed(seed, stream, *counters) < 2**63


@pytest.mark.usefixtures("global_generators_untouched")
def test_a_generator_draws_the_same_whatever_was_drawn_before():
    stream_generator(1, "order", 0)
    first = torch.randperm(9, generator=stream_generator(1, "order", 5))
    again = torch.randperm(9, generator=stream_generator(1, "order", 5))

    assert first.tolist() == again.tolist()
    assert first.tolist() != torch.randperm(9, generator=stream_generator(2, "order", 5)).tolist()


def drawn(*place):
    with global_generators_of(*place):
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


@pytest.mark.usefixtures("global_generators_untouched")
def test_code_that_draws_from_global_generators_draws_from_a_place_in_a_stream():
    first = drawn(1, "init")

    assert drawn(1, "init") == first
    assert first[0] == torch.rand(2, generator=stream_generator(1, "init")).tolist()
    for place in ((2, "init"), (1, "init/scratch"), (1, "init", 0)):
        assert all(one != other for one, other in zip(drawn(*place), first, strict=True))


@pytest.mark.usefixtures("global_generators_untouched")
def test_global_generators_are_as_before_when_code_that_uses_them_fails():
    with pytest.raises(ZeroDivisionError), global_generators_of(1, "init"):
        random.seed(torch.randint(9, ()).item() / 0)
