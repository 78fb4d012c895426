"""A compiled network is the same network, under the same names."""

from dataclasses import replace

from lightning_sparse.execution.build import build_network, build_object
from lightning_sparse.settings.compose import compose_settings
from tests.training.problems import same_bits


def test_a_network_is_compiled_in_place_and_keeps_its_names():
    settings = compose_settings(["compile=true"])
    source = build_object(settings.data, "data")

    compiled, plain = (
        build_network(replace(settings, compile=value), source) for value in (True, None)
    )

    assert same_bits(compiled.state_dict(), plain.state_dict())
    assert compiled._compiled_call_impl is not None
    assert plain._compiled_call_impl is None
