# SPDX-License-Identifier: Apache-2.0
"""What the lists of models share: the registry, inputs, and how a network is made thin and warm."""
import contextlib
import dataclasses
import os
import sys
import typing

import torch
from torch import nn

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
from warm import warm


@dataclasses.dataclass
class Model:
    module: nn.Module
    inputs: typing.Callable           # sizes by name -> tuple of arguments
    sizes: list                       # the first is exported; axes that differ in another are dynamic; all are compared
    double: bool = False              # the reference runs in double
    relative: bool = False            # outputs are not of order one: the bar is relative to their range
    literal: bool = False             # quantised: onnxruntime runs it node by node, as its kernels for bytes round biases too


MODELS = {}


def add(kind, name, make):
    MODELS[name] = (kind, make)


def images(batch, height=64, width=64):
    return torch.randn(batch, 3, height, width)


@contextlib.contextmanager
def thin(by):
    """Divides the channels of every convolution, batch norm and linear layer made inside; groups keep their width."""
    if by == 1:
        yield
        return
    kept = []

    def less(n, floor=4):
        return n if n <= floor else max(1, n // by)

    def patch(cls, keys, groups=False):
        init = cls.__init__
        names = init.__code__.co_varnames[1:init.__code__.co_argcount]

        def changed(self, *args, **kw):
            kw.update(zip(names, args))
            if groups and kw.get("groups", 1) > 1:
                kw["groups"] = max(1, kw["groups"] // by)
            for k in keys:
                if k in kw:
                    kw[k] = less(kw[k])
            init(self, **kw)
        kept.append((cls, init))
        cls.__init__ = changed
    for cls in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d):
        patch(cls, ("in_channels", "out_channels"), groups=True)
    for cls in (nn.modules.batchnorm._BatchNorm,):
        patch(cls, ("num_features",))
    patch(nn.Linear, ("in_features", "out_features"))
    try:
        yield
    finally:
        for cls, init in kept:
            cls.__init__ = init


def warmed(model, args, rounds=2):
    return warm(model, lambda: args, rounds)
