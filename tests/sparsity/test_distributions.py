import re
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_sparse.errors import UserError
from lightning_sparse.sparsity.distributions import ByLayer, ErdosRenyi, ErdosRenyiKernel, Uniform
from lightning_sparse.sparsity.masks import num_kept
from tests.reference.sparsity import bisected_densities

ALL = [
    Uniform(),
    Uniform(first_layer=0.0),
    Uniform(first_layer=0.0, last_layer=0.8),
    ErdosRenyi(),
    ErdosRenyiKernel(),
]
BALANCED = [Uniform(), ErdosRenyi(), ErdosRenyiKernel()]
SHAPES = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "fc": (10, 32)}

layer_shapes = st.one_of(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 64), st.integers(1, 64), st.integers(1, 5), st.integers(1, 5)),
)
networks = st.lists(layer_shapes, min_size=1, max_size=6).map(
    lambda shapes: {f"layer{i}": shape for i, shape in enumerate(shapes)}
)
sparsities = st.floats(0, 0.999)


def weighted_mean(layer_sparsities, shapes):
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    removed = sum(layer_sparsities[name] * size for name, size in sizes.items())
    return removed / sum(sizes.values())


@pytest.mark.parametrize("distribution", ALL, ids=repr)
@given(networks, sparsities)
def test_every_layer_gets_a_fraction_in_order(distribution, shapes, sparsity):
    layers = distribution.layer_sparsities(shapes, sparsity)
    assert list(layers) == list(shapes)
    assert all(0 <= value <= 1 for value in layers.values())


@pytest.mark.parametrize("distribution", BALANCED, ids=repr)
@given(networks, sparsities)
def test_the_mean_over_weights_is_the_asked_for_sparsity(distribution, shapes, sparsity):
    layers = distribution.layer_sparsities(shapes, sparsity)
    assert weighted_mean(layers, shapes) == pytest.approx(sparsity, abs=1e-9)


@pytest.mark.parametrize("distribution", BALANCED, ids=repr)
@given(networks, sparsities)
def test_the_overall_count_exceeds_the_asked_for_one_by_less_than_one_weight_per_layer(
    distribution, shapes, sparsity
):
    layers = distribution.layer_sparsities(shapes, sparsity)
    kept = sum(num_kept(prod(shape), layers[name]) for name, shape in shapes.items())
    asked = (1 - sparsity) * sum(map(prod, shapes.values()))
    assert -1e-6 <= kept - asked < len(shapes)


@pytest.mark.parametrize("distribution", ALL, ids=repr)
@given(networks)
def test_nothing_is_removed_at_zero(distribution, shapes):
    layers = distribution.layer_sparsities(shapes, 0.0)
    assert max(layers.values()) < 1e-12


@pytest.mark.parametrize("distribution", BALANCED, ids=repr)
@given(networks, sparsities)
def test_the_order_of_layers_is_irrelevant_without_caps(distribution, shapes, sparsity):
    backwards = distribution.layer_sparsities(dict(reversed(shapes.items())), sparsity)
    assert backwards == pytest.approx(distribution.layer_sparsities(shapes, sparsity), abs=1e-9)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Uniform(), [0.9, 0.9, 0.9]),
        (Uniform(first_layer=0.0), [0.0, 0.9, 0.9]),
        (Uniform(last_layer=0.8), [0.9, 0.9, 0.8]),
        (Uniform(first_layer=0.5, last_layer=0.0), [0.5, 0.9, 0.0]),
    ],
)
def test_caps_hold_the_first_and_the_last_layer_back(policy, expected):
    assert list(policy.layer_sparsities(SHAPES, 0.9).values()) == expected


def test_a_cap_above_the_asked_for_sparsity_does_nothing():
    layers = Uniform(last_layer=0.8).layer_sparsities(SHAPES, 0.5)
    assert list(layers.values()) == [0.5, 0.5, 0.5]


def test_the_only_layer_is_first_and_last():
    layers = Uniform(first_layer=0.6, last_layer=0.3).layer_sparsities({"fc": (2, 2)}, 0.9)
    assert layers == {"fc": 0.3}


@pytest.mark.parametrize("cap", [-0.1, 1.0, 80.0, float("nan")])
def test_a_cap_that_is_no_fraction_is_refused(cap):
    with pytest.raises(UserError, match="last_layer="):
        Uniform(last_layer=cap)


def test_erdos_renyi_by_hand():
    # Relative densities 20/100 and 40/400; kept 0.2 * 500 = scale * (20 + 40), so scale = 5/3.
    layers = ErdosRenyi().layer_sparsities({"a": (10, 10), "b": (20, 20)}, 0.8)
    assert layers == pytest.approx({"a": 1 - 1 / 3, "b": 1 - 1 / 6})


def test_a_saturated_layer_is_dense_and_the_others_pay_for_it():
    # At 0.5: scale * (20 + 40) = 250 would give a density of 5/6 and b 5/12. At 0.3 scale is 35/6
    # and a would get 7/6; so a keeps 100 and b the other 250 of its 400.
    layers = ErdosRenyi().layer_sparsities({"a": (10, 10), "b": (20, 20)}, 0.3)
    assert layers == pytest.approx({"a": 0.0, "b": 1 - 250 / 400})
    assert layers["a"] == 0.0


def test_kernel_axes_count_only_in_the_kernel_variant():
    shapes = {"conv": (8, 4, 3, 3), "fc": (8, 4)}
    assert len(set(ErdosRenyi().layer_sparsities(shapes, 0.9).values())) == 1
    conv, fc = ErdosRenyiKernel().layer_sparsities(shapes, 0.9).values()
    assert conv > fc


def test_linear_networks_do_not_see_the_difference_between_the_two():
    shapes = {"a": (84, 120), "b": (10, 84)}
    assert ErdosRenyi().layer_sparsities(shapes, 0.9) == ErdosRenyiKernel().layer_sparsities(
        shapes, 0.9
    )


@given(networks, sparsities)
def test_the_scale_agrees_with_bisection(shapes, sparsity):
    relative = {name: sum(shape) / prod(shape) for name, shape in shapes.items()}
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    densities = bisected_densities(relative, sizes, sparsity)
    layers = ErdosRenyiKernel().layer_sparsities(shapes, sparsity)
    assert layers == pytest.approx({name: 1 - d for name, d in densities.items()}, abs=1e-9)


HAND = {"conv1.weight": (4, 1, 5, 5), "conv2.weight": (8, 4, 5, 5), "fc.weight": (10, 10)}


def test_layers_given_by_hand_get_what_is_said_whatever_the_order_of_the_patterns():
    # 100 * 0 + 800 * 0.75 + 100 * 0.5 of 1000.
    said = {"*": 0.5, "conv*": 0.75, "conv1*": 0.0}
    for layers in (said, dict(reversed(said.items()))):
        found = ByLayer(layers=layers).layer_sparsities(HAND, 0.65)
        assert found == {"conv1.weight": 0.0, "conv2.weight": 0.75, "fc.weight": 0.5}
        kept = {name: num_kept(prod(HAND[name]), value) for name, value in found.items()}
        assert kept == {"conv1.weight": 100, "conv2.weight": 200, "fc.weight": 50}


def test_a_question_mark_stands_for_one_character_and_the_rest_may_have_a_sparsity_of_its_own():
    rule = ByLayer(layers={"conv?.weight": 0.9}, otherwise=0.2)
    found = rule.layer_sparsities(HAND, (900 * 0.9 + 100 * 0.2) / 1000)
    assert list(found.values()) == [0.9, 0.9, 0.2]


def test_the_nominal_sparsity_may_be_typed_rounded_but_must_be_that_of_the_layers():
    rule = ByLayer(layers={"conv*": 0.8766, "fc.*": 0.5})
    assert rule.layer_sparsities(HAND, 0.839)["fc.weight"] == 0.5
    with pytest.raises(UserError) as caught:
        rule.layer_sparsities(HAND, 0.98)
    assert str(caught.value) == (
        "sparsity=0.98: the layers of distribution.layers come to 0.8389 overall, which is what "
        "this run is to be called by; say sparsity=0.8389"
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"layers": {"conv*": 0.9, "fv.weight": 0.5}}, "'fv.weight' matches no weight; there"),
        ({"layers": {"*": 0.9, "zzz": 0.5}}, "'zzz' matches no weight; there are conv1"),
        ({"layers": {"conv*": 0.9}}, "no pattern matches 'fc.weight'; add one, or say"),
        ({"layers": {"*": 0.9, "conv1*": 0.5, "*onv1.*": 0.4}},
         "'conv1*' and '*onv1.*' say different things of 'conv1.weight'"),
    ],
)  # fmt: skip
def test_patterns_that_do_not_settle_every_layer_are_refused(rule, message):
    with pytest.raises(UserError, match=re.escape(message)):
        ByLayer(**rule).layer_sparsities(HAND, 0.9)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 90, True])
def test_a_sparsity_by_hand_that_is_no_fraction_is_refused_by_the_name_of_its_pattern(sparsity):
    with pytest.raises(UserError, match=re.escape("distribution.layers.conv*=")):
        ByLayer(layers={"conv*": sparsity})
    with pytest.raises(UserError, match=re.escape("distribution.otherwise=")):
        ByLayer(layers={"conv*": 0.5}, otherwise=sparsity)


def test_no_layers_at_all_are_refused_with_an_example():
    with pytest.raises(UserError, match=r"distribution\.layers is empty: .*layers={conv"):
        ByLayer()


def test_resnet50_has_the_published_layers_and_weights(resnet50_shapes):
    assert len(resnet50_shapes) == 54
    assert sum(map(prod, resnet50_shapes.values())) == 25_502_912
    assert prod(resnet50_shapes["conv1.weight"]) == 9_408
    assert prod(resnet50_shapes["fc.weight"]) == 2_048_000


@pytest.mark.parametrize(("sparsity", "expected"), [(0.8, 0.7997), (0.9, 0.8997), (0.95, 0.9496)])
def test_resnet50_with_a_dense_first_layer(resnet50_shapes, overall, sparsity, expected):
    layers = Uniform(first_layer=0.0).layer_sparsities(resnet50_shapes, sparsity)
    assert overall(layers, resnet50_shapes) == pytest.approx(expected, abs=5.1e-5)


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [
        (0.8, 0.7997),
        (0.9, 0.8916),
        (0.91, 0.9008),
        (0.95, 0.9376),
        (0.96, 0.9468),
        (0.98, 0.9652),
    ],
)
def test_resnet50_extended_policy_of_gale(resnet50_shapes, overall, sparsity, expected):
    policy = Uniform(first_layer=0.0, last_layer=0.8)
    layers = policy.layer_sparsities(resnet50_shapes, sparsity)
    assert overall(layers, resnet50_shapes) == pytest.approx(expected, abs=5.1e-5)


@pytest.mark.parametrize(
    ("sparsity", "dense_layers"),
    [
        (
            0.8,
            {
                "layer1.0.conv1.weight",
                "layer1.0.conv3.weight",
                "layer1.0.downsample.0.weight",
                "layer1.1.conv1.weight",
                "layer1.1.conv3.weight",
                "layer1.2.conv1.weight",
                "layer1.2.conv3.weight",
                "layer2.0.conv1.weight",
            },
        ),
        (0.9, {"layer1.0.conv1.weight"}),
        (0.95, set()),
    ],
)
def test_resnet50_layers_that_the_kernel_variant_keeps_dense(
    resnet50_shapes, overall, sparsity, dense_layers
):
    layers = ErdosRenyiKernel().layer_sparsities(resnet50_shapes, sparsity)
    assert {name for name, value in layers.items() if value == 0} == dense_layers
    assert overall(layers, resnet50_shapes) == pytest.approx(sparsity, abs=54 / 25_502_912)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("conv1.weight", 0.143),
        ("layer1.1.conv2.weight", 0.638),
        ("layer4.0.conv1.weight", 0.708),
        ("layer4.1.conv2.weight", 0.957),
        ("layer4.0.downsample.0.weight", 0.854),
        ("fc.weight", 0.852),
    ],
)
def test_resnet50_layer_values_of_the_kernel_variant(resnet50_shapes, layer, expected):
    layers = ErdosRenyiKernel().layer_sparsities(resnet50_shapes, 0.8)
    assert layers[layer] == pytest.approx(expected, abs=5.1e-4)
