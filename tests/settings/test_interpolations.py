import pytest
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

from lightning_sparse.settings.interpolations import resolve

TREE = {
    "sparsity": 0.9,
    "space": "dense",
    "rates": {"dense": 0.1, "union": "${.dense}", "masks": "${rates.${space}}"},
    "method": {"sparsity": "${sparsity}", "parts": ["${rates}", {"rate": "${...rate}"}], "rate": 3},
    "any": "${${space}}",
    "dense": {"seed": 7},
}  # fmt: skip


def test_what_is_referred_to_takes_the_place_of_what_refers():
    found = resolve(TREE)
    assert found["rates"] == {"dense": 0.1, "union": 0.1, "masks": 0.1}
    assert found["method"]["parts"] == [found["rates"], {"rate": 3}]
    assert found["any"] == {"seed": 7}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"sparsity": 1}, {"method": {"sparsity": 1}}),
        ({"sparsity": True}, {"method": {"sparsity": True}}),
        ({"rates": {"dense": 5}}, {"method": {"parts": [{"dense": 5}, {"rate": 3}]}}),
        ({"space": "sparsity"}, {"any": 0.9}),
        ({"dense": 8}, {"any": 8}),
    ],
)
def test_it_follows_what_was_changed_since(changed, expected):
    resolve(TREE)
    tree = {**TREE, "rates": {**TREE["rates"], "masks": 0}, **changed}
    found = resolve(tree)
    for name, part in expected.items():
        wanted = {**found[name], **part} if isinstance(part, dict) else part
        assert repr(found[name]) == repr(wanted)
    assert resolve(TREE)["rates"]["masks"] == 0.1


def test_what_was_given_out_is_nobody_elses():
    resolve(TREE)["rates"]["dense"] = 9
    assert resolve(TREE)["rates"]["dense"] == 0.1


def test_what_is_not_there_is_said():
    with pytest.raises(InterpolationKeyError):
        resolve({"seed": "${nowhere}"})
    with pytest.raises(MissingMandatoryValue):
        resolve({"seed": "???"})
