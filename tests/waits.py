"""Counts where a program would wait for an accelerator, on a machine that has none."""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# What gives the host a number, or a tensor whose size or values it must know.
_FUNCTIONS = {
    "item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "unique", "bincount",
    "__bool__", "__float__", "__int__", "__index__", "__complex__",
}  # fmt: skip
_OPERATIONS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2"}


def _is_count_of_batches(args):
    """Tell apart what batch norm reads at every batch; where it is kept is tested by itself."""
    return bool(args) and args[0].dtype == torch.int64 and args[0].dim() == 0


class _Functions(TorchFunctionMode):
    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in _FUNCTIONS and not _is_count_of_batches(args):
            self.waits.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Sees also what torch itself asks for inside a function."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in _OPERATIONS and not _is_count_of_batches(args):
            self.waits.operations.append(name)
        return func(*args, **(kwargs or {}))


class Waits:
    """A context manager: what was called in its block that would wait.

    Attributes:
        seen: Functions of tensors, by name.
        operations: Operations of torch, by name; most belong to one of the functions.
    """

    def __init__(self):
        self.seen, self.operations = [], []
        self._modes = [_Functions(self), _Operations(self)]

    def __enter__(self):
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *exception):
        for mode in reversed(self._modes):
            mode.__exit__(*exception)

    @property
    def number(self):
        return max(len(self.seen), len(self.operations))
