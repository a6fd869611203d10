"""Writes .onnx files as torch.onnx.export makes them, for test_shapes.py: both exporters, fixed and varying sizes.

    python tests/python/make_torch_onnx.py FOLDER

Needs torch and onnxscript; torchvision and transformers add their models. A model that an exporter refuses is passed over.
"""
import os
import sys
import warnings

import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
torch.manual_seed(0)


class Sizes(nn.Module):
    def forward(self, x, y):
        b, n, c = x.shape
        z = x.view(b, n // 2, 2, c).flatten(1, 2)[:, :, : c // 2]
        w = torch.arange(n, device=x.device).unsqueeze(0).expand(b, -1)
        p = F.pad(y, (1, 2, n % 3, 0))
        return z, w, p, torch.cat([x, x.new_zeros(b, 3, c)], 1), y.repeat(2, n), x.reshape(b * n, -1).mean(0)


class Data(nn.Module):
    def forward(self, x):
        i = torch.nonzero(x > 0)
        v, k = torch.topk(x, 2, dim=1)
        return i, x[x > 0], v, k, torch.unique(x.round()), i.shape[0] * torch.ones(3)


class Branch(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda t: (t + 1, t[:, :1]), lambda t: (t - 1, t[:, 1:2]), (x,))


class Steps(nn.Module):
    def forward(self, x):
        h = x[:, 0]
        out = []
        for i in range(4):
            h = torch.tanh(h + x[:, i])
            out.append(h)
        return torch.stack(out, 1)


@torch.jit.script
def looped(x: torch.Tensor, n: int):
    parts = []
    for i in range(n):
        x = torch.cat([x, x[:1]], 0)
        parts.append(x.sum(0))
    return x, torch.stack(parts)


class Looped(nn.Module):
    def forward(self, x):
        return looped(x, x.shape[1])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.ConvTranspose2d(8, 4, 4, 2, 1))
        self.lin = nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x)
        x = F.interpolate(x, scale_factor=1.5, mode="bilinear")
        return self.lin(x.mean((2, 3))), F.interpolate(x, size=(x.shape[2] // 2, 7)), F.adaptive_avg_pool2d(x, 1), x.flatten(2).transpose(1, 2)


class Attend(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.emb = nn.Embedding(50, 16)

    def forward(self, ids):
        n = ids.shape[1]
        mask = torch.full((n, n), float("-inf")).triu(1)
        return self.layer(self.emb(ids) + torch.arange(n).unsqueeze(-1) / n, src_mask=mask)


class Recur(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), nn.GRU(10, 3)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        z, g = self.gru(y.transpose(0, 1))
        return y, h, c, z, g


def models():
    D = torch.export.Dim.DYNAMIC
    yield "sizes", Sizes(), (torch.randn(2, 6, 8), torch.randn(3, 5)), {"x": {0: D, 1: D}, "y": {0: D, 1: D}}
    yield "data", Data(), (torch.randn(3, 5),), {"x": {0: D, 1: D}}
    yield "branch", Branch(), (torch.randn(3, 5),), {"x": {0: D, 1: D}}
    yield "steps", Steps(), (torch.randn(3, 6, 2),), {"x": {0: D, 2: D}}
    yield "looped", Looped(), (torch.randn(3, 4),), {"x": {0: D, 1: D}}
    yield "net", Net(), (torch.randn(2, 3, 32, 32),), {"x": {0: D, 2: D, 3: D}}
    yield "attend", Attend(), (torch.randint(0, 50, (2, 7)),), {"ids": {0: D, 1: D}}
    yield "recur", Recur(), (torch.randn(2, 7, 6),), {"x": {0: D, 1: D}}
    try:
        import torchvision
        for name in ("resnet18", "mobilenet_v3_small", "vit_b_16", "swin_t", "densenet121", "shufflenet_v2_x0_5"):
            yield name, getattr(torchvision.models, name)(weights=None), (torch.randn(1, 3, 224, 224),), {"x": {0: D}}
        yield "fcn", torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None), (torch.randn(1, 3, 64, 64),), {"input": {0: D, 2: D, 3: D}}
        yield "ssd", torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None), ([torch.randn(3, 320, 320)],), None
    except ImportError:
        pass
    try:
        import transformers as t
        ids = torch.randint(0, 90, (2, 9))
        small = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
        yield "bert", t.BertModel(t.BertConfig(**small)), (ids, torch.ones_like(ids)), {"input_ids": {0: D, 1: D}, "attention_mask": {0: D, 1: D}}
        yield "gpt2", t.GPT2LMHeadModel(t.GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, use_cache=False)), (ids,), {"input_ids": {0: D, 1: D}}
        yield "llama", t.LlamaForCausalLM(t.LlamaConfig(**small, num_key_value_heads=2, use_cache=False)), (ids,), {"input_ids": {0: D, 1: D}}
        yield "t5", t.T5EncoderModel(t.T5Config(vocab_size=100, d_model=32, d_ff=48, num_layers=2, num_heads=4, d_kv=8)), (ids,), {"input_ids": {0: D, 1: D}}
    except (ImportError, TypeError):
        pass


def axes(dynamic):
    return {k: {a: "%s_%d" % (k, a) for a in v} for k, v in (dynamic or {}).items()}


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    made = 0
    for name, m, args, dynamic in models():
        m.eval()
        for kind in ("dynamo", "script"):
            for shape in ("fixed", "free"):
                path = os.path.join(folder, "%s_%s_%s.onnx" % (name, kind, shape))
                free = dynamic if shape == "free" else None
                if shape == "free" and not dynamic:
                    continue
                try:
                    if kind == "dynamo":
                        shapes = None if free is None else tuple(free.values())
                        torch.onnx.export(m, args, path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)
                    else:
                        torch.onnx.export(m, args, path, dynamo=False, input_names=list(free or []) or None, dynamic_axes=axes(free) or None, opset_version=17)
                    made += 1
                except Exception as e:
                    print("passed over:", name, kind, shape, str(e).strip().split("\n")[0][:100])
    print("%d models" % made)


if __name__ == "__main__":
    main()
