# SPDX-License-Identifier: Apache-2.0
"""Networks of the zoo quantised by PT2E with XNNPACK's quantiser: calibrated on noise, 8 bits, scales of weights for each channel, or for the whole tensor.
Which of two steps a number in their middle goes to hangs on rounding, in PyTorch as well, and thin networks make much of one step: pools see odd areas
here, whose means never stand there, and inputs are drawn until no number that PyTorch quantises is nearer than `clear` steps to a middle."""
import warnings

import torch
from torch import nn

from zoo import MODELS, Model, add, images

DRAWS = 500


def tools():
    """prepare, convert, the quantiser and its configuration: torchao's, or of torch itself before it moved there."""
    try:
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    except ImportError:
        from torch.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torch.ao.quantization.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    return prepare_pt2e, convert_pt2e, XNNPACKQuantizer, get_symmetric_quantization_config


class Nearest(torch.fx.Interpreter):
    """How near a number comes to the middle of two steps, in steps."""
    def run_node(self, n):
        if n.op == "call_function" and "quantize_per_tensor" in str(n.target) and ".dequantize" not in str(n.target):
            x, scale, zero, low, high = self.fetch_args_kwargs_from_env(n)[0][:5]
            y = x.double() / scale
            inside = (y + zero > low - 1) & (y + zero < high + 1)
            self.nearest = min(self.nearest, (y - y.floor() - 0.5).abs()[inside].amin().item() if inside.any() else 1)
        return super().run_node(n)

    def of(self, args):
        self.nearest = 1
        with torch.no_grad():
            self.run(*args)
        return self.nearest


class Quantised(nn.Module):
    def __init__(self, model, inputs, sizes, **config):
        super().__init__()
        prepare, convert, quantiser, configuration = tools()
        args = inputs(**sizes[0])
        spec = tuple({a: torch.export.Dim.AUTO for a in range(t.dim()) if any(inputs(**s)[i].shape[a] != t.shape[a] for s in sizes)} for i, t in enumerate(args))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = prepare(torch.export.export(model, args, dynamic_shapes=spec, strict=False).module(), quantiser().set_global(configuration(**config)))
            for _ in range(4):
                model(*inputs(**sizes[0]))
            self.model = convert(model)

    def forward(self, *args):
        return self.model(*args)


def quantised(name, of, sizes, clear, inputs=lambda batch, size: (images(batch, size, size),), **config):
    def make():
        module = Quantised(MODELS[of][1]().module, inputs, sizes, **config)

        def draw(**size):
            look = Nearest(module.model)
            for _ in range(DRAWS):
                args = inputs(**size)
                if look.of(args) > clear:
                    return args
            raise ValueError("no inputs without ties in %d draws" % DRAWS)
        return Model(module, draw, sizes, literal=True)
    add("PT2E int8", name, make)


ODD = [dict(batch=2, size=72), dict(batch=1, size=96), dict(batch=1, size=72)]
quantised("resnet18_int8", "resnet18", ODD, 1.6e-5, is_per_channel=True)
quantised("mobilenet_v2_int8", "mobilenet_v2", ODD, 5e-6, is_per_channel=True)
