"""What a forward pass does with each parameter, seen at the operations that are really run.

Layers are known by their type elsewhere; a network may use their weights as it likes: through
``torch.nn.functional``, not at all, or as a function of them, such as weight standardisation.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_COUNTED: Mapping[Any, Callable[..., int]] = flop_registry
_NOTHING: frozenset[str] = frozenset()


class ForwardProbe(TorchDispatchMode):
    """Follows parameters, and what is computed from them alone, to where they meet the images.

    Args:
        network: What will run inside this context.

    Attributes:
        met: Names of the parameters that met the images.
        zero_share: Of parameters that a counted operation (convolution, product of matrices) used,
            the smallest fraction of zeros with which one arrived there, in [0, 1].
        flops: Operations by the name of the parameter that took part; multiply and add are two.
        total_flops: Operations of the whole pass, as `torch.utils.flop_counter` counts them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.met: set[str] = set()
        self.zero_share: dict[str, float] = {}
        self.flops: Counter[str] = Counter()
        self.total_flops = 0
        # By storage; what is not here was computed from images. Kept alive, so that none of the
        # numbers is given to another one.
        self._origins: dict[int, tuple[frozenset[str], Tensor]] = {}
        self._parameters = {_key(parameter) for parameter in network.parameters()}
        for buffer in network.buffers():
            self._note(buffer, _NOTHING)
        for name, parameter in network.named_parameters():
            self._note(parameter, frozenset({name}))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation and note what went in and came out."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet not in _COUNTED:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        given = [item for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)]
        origins = [self._origin(tensor) for tensor in given]
        result = func(*args, **kwargs)
        count = _COUNTED[packet](*args, **kwargs, out_val=result) if packet in _COUNTED else 0
        self.total_flops += count
        made = [item for item in tree_leaves(result) if isinstance(item, Tensor)]
        if None in origins:
            for tensor in made:
                self._forget(tensor)
            arrived = [(t, origin) for t, origin in zip(given, origins, strict=True) if origin]
            self._meet(arrived, count if packet in _COUNTED else None)
        else:
            together = _NOTHING.union(*(origin for origin in origins if origin))
            for tensor in made:
                self._note(tensor, together)
        return result

    def _meet(self, arrived: list[tuple[Tensor, frozenset[str]]], count: int | None) -> None:
        self.met.update(*(origin for _, origin in arrived))
        # A bias is added where the product of matrices is.
        factors = [(t, origin) for t, origin in arrived if t.dim() >= _DIMENSIONS_OF_A_MATRIX]
        if count is None or not factors:
            return
        for tensor, origin in factors:
            share = _zero_share(tensor)
            for name in origin:
                self.zero_share[name] = min(share, self.zero_share.get(name, 1.0))
        self.flops[min(factors[0][1])] += count

    def _origin(self, tensor: Tensor) -> frozenset[str] | None:
        key = _key(tensor)
        return self._origins[key][0] if key in self._origins else None

    def _note(self, tensor: Tensor, origin: frozenset[str]) -> None:
        key = _key(tensor)
        if key is not None:
            self._origins[key] = (origin, tensor.detach())

    def _forget(self, tensor: Tensor) -> None:
        key = _key(tensor)
        # A parameter stays one; whatever else took up something of the images belongs to them.
        if key is not None and key not in self._parameters:
            self._origins.pop(key, None)


_DIMENSIONS_OF_A_MATRIX = 2


def _key(tensor: Tensor) -> int | None:
    if tensor.layout != torch.strided:
        return None
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 (equal for views, on meta too)


def _zero_share(tensor: Tensor) -> float:
    if tensor.is_meta or not tensor.numel():
        return 1.0
    with torch.utils._python_dispatch._disable_current_modes():  # noqa: SLF001
        return 1 - int(tensor.detach().count_nonzero()) / tensor.numel()


@contextlib.contextmanager
def operations_in_the_open(network: nn.Module) -> Iterator[None]:
    """Have attention and recurrent layers computed by operations that can be seen and counted."""
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    was_fast = torch.backends.mha.get_fastpath_enabled()
    had_kernels = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()  # noqa: SLF001
    torch.backends.mha.set_fastpath_enabled(False)
    if is_recurrent:
        _use_kernels(mkldnn=False, cudnn=False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
        _use_kernels(*had_kernels)


def _use_kernels(mkldnn: bool, cudnn: bool) -> None:  # noqa: FBT001 (two of the same kind)
    # Not by torch.backends.mkldnn.flags, which warns of what another vendor's devices could do.
    torch._C._set_mkldnn_enabled(mkldnn)  # noqa: SLF001
    torch._C._set_cudnn_enabled(cudnn)  # noqa: SLF001
