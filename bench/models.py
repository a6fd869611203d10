"""models.py FOLDER NAME... - writes NAME.pt2, NAME.inputs.npz and NAME.expected.npz (run in double by PyTorch): the models of the benchmark.
resnet50.b8 is resnet50 with 8 images, minilm.t512 is minilm with 512 tokens.

Run by a Python with torch and torchvision. Weights are random and seeded: nothing is downloaded, so what the models say means nothing;
how long they take does not depend on it. Batch norms get scales, shifts and statistics as training leaves them.
"""
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from warm import warm


def image(size=224, batch=1):
    return torch.randn(batch, 3, size, size)


def vision(name, batch=1):
    import torchvision
    model = getattr(torchvision.models, name)(weights=None)
    if name == "vit_b_16":
        nn.init.normal_(model.heads.head.weight, 0, 0.02)      # torchvision starts it at zero, which would hide any error
        return model.eval(), (image(batch=batch),)
    return warm(model, lambda: image(96, 4)), (image(batch=batch),)


# ---- BERT of MiniLM-L6's shape: 6 layers, 384 wide, 12 heads, 128 tokens ---------------------------------------------------------

class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask):
        b, t, w = x.shape
        q, k, v = (f(x).view(b, t, self.heads, w // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        p = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(w // self.heads) + mask, -1)
        return self.o((p @ v).transpose(1, 2).reshape(b, t, w))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.n1, self.n2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, mask):
        x = self.n1(x + self.attention(x, mask))
        return self.n2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, layers=6, width=384, heads=12, words=30522, positions=512):
        super().__init__()
        self.word, self.position, self.kind = nn.Embedding(words, width), nn.Embedding(positions, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, input_ids, attention_mask, token_type_ids):
        t = input_ids.shape[1]
        x = self.norm(self.word(input_ids) + self.position.weight[:t] + self.kind(token_type_ids))
        mask = (1 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, mask)
        return x


def minilm(batch=1, tokens=128):
    mask = torch.ones(batch, tokens, dtype=torch.long)
    mask[:, tokens * 100 // 128:] = 0
    return Bert().eval(), (torch.randint(0, 30522, (batch, tokens)), mask, torch.zeros(batch, tokens, dtype=torch.long))


# ---- GPT-2 small, one step of decoding over 128 cached tokens ---------------------------------------------------------------------

class Gpt2Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, past_k, past_v):
        b, t, w = x.shape
        q, k, v = (a.view(b, t, self.heads, w // self.heads).transpose(1, 2) for a in self.qkv(self.n1(x)).split(w, 2))
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        p = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(w // self.heads), -1)
        x = x + self.o((p @ v).transpose(1, 2).reshape(b, t, w))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh")), k, v


class Gpt2(nn.Module):
    def __init__(self, layers=12, width=768, heads=12, words=50257, positions=1024):
        super().__init__()
        self.word, self.position = nn.Embedding(words, width), nn.Embedding(positions, width)
        nn.init.normal_(self.word.weight, 0, 0.02)
        nn.init.normal_(self.position.weight, 0, 0.02)
        self.layers = nn.ModuleList(Gpt2Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, input_ids, position_ids, past):
        x = self.word(input_ids) + self.position(position_ids)
        new = []
        for i, layer in enumerate(self.layers):
            x, k, v = layer(x, past[i, 0], past[i, 1])
            new += [k, v]
        return F.linear(self.norm(x), self.word.weight), torch.stack(new)


def gpt2():
    return Gpt2().eval(), (torch.randint(0, 50257, (1, 1)), torch.full((1, 1), 128), torch.randn(12, 2, 1, 12, 128, 64) * 0.5)


# ---- a detector of YOLOv8n's shape, U-Net, LSTM -------------------------------------------------------------------------------------

class Cbs(nn.Module):
    def __init__(self, cin, cout, k=1, s=1):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(cin, cout, k, s, k // 2, bias=False), nn.BatchNorm2d(cout, eps=1e-3)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class C2f(nn.Module):
    def __init__(self, cin, cout, n, add):
        super().__init__()
        self.c, self.add = cout // 2, add
        self.a, self.b = Cbs(cin, cout), Cbs((2 + n) * self.c, cout)
        self.m = nn.ModuleList(nn.Sequential(Cbs(self.c, self.c, 3), Cbs(self.c, self.c, 3)) for _ in range(n))

    def forward(self, x):
        y = list(self.a(x).split(self.c, 1))
        for m in self.m:
            y.append(y[-1] + m(y[-1]) if self.add else m(y[-1]))
        return self.b(torch.cat(y, 1))


class Sppf(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = Cbs(c, c // 2), Cbs(2 * c, c)

    def forward(self, x):
        y = [self.a(x)]
        for _ in range(3):
            y.append(F.max_pool2d(y[-1], 5, 1, 2))
        return self.b(torch.cat(y, 1))


class Yolo(nn.Module):
    def __init__(self, size, classes=80, bins=16):
        super().__init__()
        self.bins, self.classes = bins, classes
        self.stem, self.d2, self.c2 = Cbs(3, 16, 3, 2), Cbs(16, 32, 3, 2), C2f(32, 32, 1, True)
        self.d3, self.c3 = Cbs(32, 64, 3, 2), C2f(64, 64, 2, True)
        self.d4, self.c4 = Cbs(64, 128, 3, 2), C2f(128, 128, 2, True)
        self.d5, self.c5, self.sppf = Cbs(128, 256, 3, 2), C2f(256, 256, 1, True), Sppf(256)
        self.n4, self.n3 = C2f(384, 128, 1, False), C2f(192, 64, 1, False)
        self.e3, self.m4 = Cbs(64, 64, 3, 2), C2f(192, 128, 1, False)
        self.e4, self.m5 = Cbs(128, 128, 3, 2), C2f(384, 256, 1, False)
        self.box = nn.ModuleList(nn.Sequential(Cbs(c, 64, 3), Cbs(64, 64, 3), nn.Conv2d(64, 4 * bins, 1)) for c in (64, 128, 256))
        self.cls = nn.ModuleList(nn.Sequential(Cbs(c, 80, 3), Cbs(80, 80, 3), nn.Conv2d(80, classes, 1)) for c in (64, 128, 256))
        points, strides = [], []
        for s in (8, 16, 32):
            n = size // s
            y, x = torch.meshgrid(torch.arange(n) + 0.5, torch.arange(n) + 0.5, indexing="ij")
            points.append(torch.stack([x, y]).view(2, -1))
            strides.append(torch.full((n * n,), float(s)))
        self.register_buffer("points", torch.cat(points, 1)[None])
        self.register_buffer("strides", torch.cat(strides)[None, None])
        self.register_buffer("steps", torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1))

    def forward(self, x):
        p3 = self.c3(self.d3(self.c2(self.d2(self.stem(x)))))
        p4 = self.c4(self.d4(p3))
        p5 = self.sppf(self.c5(self.d5(p4)))
        t4 = self.n4(torch.cat([F.interpolate(p5, scale_factor=2.0), p4], 1))
        t3 = self.n3(torch.cat([F.interpolate(t4, scale_factor=2.0), p3], 1))
        t4 = self.m4(torch.cat([self.e3(t3), t4], 1))
        t5 = self.m5(torch.cat([self.e4(t4), p5], 1))
        box = torch.cat([b(t).flatten(2) for b, t in zip(self.box, (t3, t4, t5))], 2)
        cls = torch.cat([c(t).flatten(2) for c, t in zip(self.cls, (t3, t4, t5))], 2)
        ltrb = (torch.softmax(box.view(x.shape[0], 4, self.bins, -1).transpose(1, 2), 1) * self.steps).sum(1)
        lt, rb = self.points - ltrb[:, :2], self.points + ltrb[:, 2:]
        return torch.cat([(lt + rb) / 2 * self.strides, (rb - lt) * self.strides, torch.sigmoid(cls)], 1)


def yolo():
    size = 320
    model = Yolo(size)
    return warm(model, lambda: image(size, 2)), (image(size),)


class Unet(nn.Module):
    def __init__(self, c=(32, 64, 128, 256)):
        super().__init__()

        def pair(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        self.down = nn.ModuleList(pair(a, b) for a, b in zip((3,) + c[:-1], c))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(c[:-1], c[1:]))
        self.join = nn.ModuleList(pair(2 * a, a) for a in c[:-1])
        self.last = nn.Conv2d(c[0], 2, 1)

    def forward(self, x):
        kept = []
        for i, d in enumerate(self.down):
            x = d(F.max_pool2d(x, 2) if i else x)
            kept.append(x)
        for up, join, k in list(zip(self.up, self.join, kept))[::-1]:
            x = join(torch.cat([k, up(x)], 1))
        return self.last(x)


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(256, 512, 2, batch_first=True), nn.Linear(512, 128)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


MODELS = {
    "resnet18": lambda **size: vision("resnet18", **size),
    "resnet50": lambda **size: vision("resnet50", **size),
    "mobilenet_v2": lambda **size: vision("mobilenet_v2", **size),
    "efficientnet_b0": lambda **size: vision("efficientnet_b0", **size),
    "vit_b_16": lambda **size: vision("vit_b_16", **size),
    "minilm": minilm,
    "yolov8n": yolo,
    "gpt2_step": gpt2,
    "lstm": lambda: (Lstm().eval(), (torch.randn(1, 64, 256),)),
    "unet": lambda: (warm(Unet(), lambda: image(64, 2)), (image(256),)),
}


SIZES = {"b": "batch", "t": "tokens"}


def make(folder, name):
    torch.manual_seed(0)
    base, *sizes = name.split(".")
    model, args = MODELS[base](**{SIZES[s[0]]: int(s[1:]) for s in sizes})
    program = torch.export.export(model, args)
    torch.export.save(program, os.path.join(folder, name + ".pt2"))
    names = [s.arg.name for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    np.savez(os.path.join(folder, name + ".inputs.npz"), **{n: a.numpy() for n, a in zip(names, args)})
    with torch.no_grad():
        out = model.double()(*(a.double() if a.is_floating_point() else a for a in args))
    out = out if isinstance(out, tuple) else (out,)
    np.savez(os.path.join(folder, name + ".expected.npz"), **{str(i): o.numpy() for i, o in enumerate(out)})


if __name__ == "__main__":
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0))))
    for which in sys.argv[2:]:
        make(sys.argv[1], which)
