import numpy as np

from lightning_sparse.data.draws import fixed_permutation, uniform_draws
from tests.reference.splitmix import mix, outputs


def test_the_reference_gives_the_published_first_numbers():
    assert outputs(1234567, 2) == [6457827717110365317, 3203168211198807973]


def test_draws_agree_with_the_published_generator_in_python_integers():
    key, index = 12345678901234567, 42
    stream = mix(key ^ outputs(index * 0x9E3779B97F4A7C15 % 2**64, 1)[0])
    expected = [(bits >> 11) * 2.0**-53 for bits in outputs(stream, 3)]

    assert uniform_draws(key, np.array([7, index]), 3)[1].tolist() == expected


def test_a_draw_depends_on_its_index_and_not_on_its_company():
    together = uniform_draws(5, np.arange(100), 4)
    alone = uniform_draws(5, np.array([63]), 2)

    assert np.array_equal(alone[0], together[63, :2])


def test_draws_are_uniform_and_unrelated_between_neighbours():
    draws = uniform_draws(3, np.arange(100_000), 2)
    neighbours = np.stack([draws[:-1, 0], draws[1:, 0], draws[:-1, 1]])
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]

    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(counts / 20_000 - 1).max() < 0.03
    assert np.abs(np.corrcoef(neighbours) - np.eye(3)).max() < 0.015


def test_other_keys_give_other_numbers():
    assert not np.array_equal(*(uniform_draws(key, np.arange(9), 1) for key in (1, 2)))


def test_the_fixed_permutation_never_changes():
    assert fixed_permutation(8).tolist() == [3, 0, 5, 6, 1, 7, 2, 4]
    assert sorted(fixed_permutation(1000)) == list(range(1000))
