# SPDX-License-Identifier: Apache-2.0
"""Diffusion (diffusers, where it is installed), audio, time series, and layers of torch.nn by themselves."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from zoo import Model, add, images, warmed

BATCH = [dict(batch=2), dict(batch=1), dict(batch=5)]


# ---- diffusion --------------------------------------------------------------------------------------------------------------------

class First(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *args):
        return self.model(*args, return_dict=False)[0]


def unet():
    from diffusers import UNet2DConditionModel
    return First(UNet2DConditionModel(sample_size=16, block_out_channels=(16, 32), layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                                      cross_attention_dim=24, attention_head_dim=8, norm_num_groups=8))


def unet_inputs(batch, height, width, words):
    return torch.randn(batch, 4, height, width), torch.tensor(37), torch.randn(batch, words, 24)


add("diffusers", "unet_condition", lambda: Model(unet().eval(), unet_inputs, [dict(batch=2, height=16, width=24, words=7), dict(batch=1, height=24, width=16, words=5), dict(batch=3, height=32, width=16, words=9)]))


class Half(nn.Module):
    """One side of an autoencoder."""
    def __init__(self, decode):
        super().__init__()
        from diffusers import AutoencoderKL
        self.vae = AutoencoderKL(block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=8)
        self.decode = decode

    def forward(self, x):
        return self.vae.decode(x, return_dict=False)[0] if self.decode else self.vae.encode(x, return_dict=False)[0].mean


add("diffusers", "vae_decoder", lambda: Model(Half(True).eval(), lambda batch, height, width: (torch.randn(batch, 4, height, width),), [dict(batch=2, height=8, width=12), dict(batch=1, height=12, width=8), dict(batch=3, height=16, width=8)]))
add("diffusers", "vae_encoder", lambda: Model(Half(False).eval(), lambda batch, height, width: (images(batch, height, width),), [dict(batch=2, height=16, width=24), dict(batch=1, height=24, width=16), dict(batch=3, height=32, width=16)]))


def dit():
    from diffusers import DiTTransformer2DModel
    return First(DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, num_layers=2, sample_size=8, patch_size=2, num_embeds_ada_norm=20, norm_num_groups=4))


class Dit(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = dit().model

    def forward(self, x, t, label):
        return self.model(x, timestep=t, class_labels=label, return_dict=False)[0]


add("diffusers", "dit", lambda: Model(Dit().eval(), lambda batch: (torch.randn(batch, 4, 8, 8), torch.randint(0, 19, (batch,)), torch.randint(0, 19, (batch,))), BATCH))


# ---- audio ------------------------------------------------------------------------------------------------------------------------

class Separator(nn.Module):
    """As Conv-TasNet: an encoder of filters, dilated blocks with global norms, masks, and the decoder that adds the frames up."""
    def __init__(self, filters=32, width=16, hidden=32, blocks=4, sources=2, kernel=8):
        super().__init__()
        self.sources, self.filters = sources, filters
        self.encode, self.decode = nn.Conv1d(1, filters, kernel, kernel // 2, bias=False), nn.ConvTranspose1d(filters, 1, kernel, kernel // 2, bias=False)
        self.start = nn.Sequential(nn.GroupNorm(1, filters, 1e-8), nn.Conv1d(filters, width, 1))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv1d(width, hidden, 1), nn.PReLU(), nn.GroupNorm(1, hidden, 1e-8), nn.Conv1d(hidden, hidden, 3, padding=2 ** i, dilation=2 ** i, groups=hidden),
                                                  nn.PReLU(), nn.GroupNorm(1, hidden, 1e-8)) for i in range(blocks))
        self.residual, self.skip = nn.ModuleList(nn.Conv1d(hidden, width, 1) for _ in range(blocks)), nn.ModuleList(nn.Conv1d(hidden, width, 1) for _ in range(blocks))
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(width, sources * filters, 1), nn.Sigmoid())

    def forward(self, wave):
        f = self.encode(wave)
        x, total = self.start(f), 0.0
        for block, residual, skip in zip(self.blocks, self.residual, self.skip):
            y = block(x)
            x, total = x + residual(y), total + skip(y)
        m = self.mask(total).view(wave.shape[0], self.sources, self.filters, -1)
        y = self.decode((m * f[:, None]).flatten(0, 1))
        return y.view(wave.shape[0], self.sources, -1)


class Demucs(nn.Module):
    """As Demucs: strided convolutions with gated ones between, an LSTM in the middle, and the same way back with skips."""
    def __init__(self, width=8, depth=3):
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels = 1
        for i in range(depth):
            out = width * 2 ** i
            self.down.append(nn.Sequential(nn.Conv1d(channels, out, 8, 4), nn.ReLU(), nn.Conv1d(out, 2 * out, 1), nn.GLU(1)))
            self.up.insert(0, nn.Sequential(nn.Conv1d(out, 2 * out, 3, padding=1), nn.GLU(1), nn.ConvTranspose1d(out, channels, 8, 4), *([nn.ReLU()] if i else [])))
            channels = out
        self.lstm, self.line = nn.LSTM(channels, channels, 2, bidirectional=True), nn.Linear(2 * channels, channels)

    def forward(self, wave):
        scale = wave.std(2, keepdim=True, unbiased=False) + 1e-3
        x, skips = wave / scale, []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        y, _ = self.lstm(x.permute(2, 0, 1))
        x = self.line(y).permute(1, 2, 0)
        for layer in self.up:
            skip = skips.pop()
            x = layer(x + skip[..., :x.shape[-1]])
        return x * scale


class Spectrogram(nn.Module):
    """Magnitudes of a short-time transform into a recurrent classifier, as small speech models do."""
    def __init__(self, n=64, hop=16):
        super().__init__()
        self.n, self.hop = n, hop
        self.register_buffer("window", torch.hann_window(n))
        self.register_buffer("mel", torch.rand(n // 2 + 1, 12))
        self.rnn, self.line = nn.GRU(12, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, wave):
        s = torch.stft(wave, self.n, self.hop, window=self.window, return_complex=True, pad_mode="reflect")
        power = s.abs() ** 2
        x = torch.log(power.transpose(1, 2) @ self.mel + 1e-5)
        y, _ = self.rnn(x)
        return self.line(y[:, -1])


add("audio", "conv_tasnet", lambda: Model(Separator().eval(), lambda batch, n: (torch.randn(batch, 1, n),), [dict(batch=2, n=800), dict(batch=1, n=640), dict(batch=3, n=1000)]))
add("audio", "demucs", lambda: Model(Demucs().eval(), lambda batch, n: (torch.randn(batch, 1, n),), [dict(batch=2, n=852), dict(batch=1, n=852), dict(batch=3, n=852)]))
add("audio", "spectrogram_gru", lambda: Model(Spectrogram().eval(), lambda batch, n: (torch.randn(batch, n),), [dict(batch=2, n=320), dict(batch=1, n=480), dict(batch=3, n=400)]))


class Fourier(nn.Module):
    """As the Fourier neural operator: a learned filter on the lowest frequencies, beside a pointwise path."""
    def __init__(self, width=8, modes=5):
        super().__init__()
        self.modes = modes
        self.lift, self.out = nn.Conv1d(2, width, 1), nn.Conv1d(width, 1, 1)
        self.w = nn.ParameterList(nn.Parameter(torch.randn(width, width, modes, 2) / width) for _ in range(2))
        self.skip = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(2))

    def forward(self, x):
        x = self.lift(x)
        for w, skip in zip(self.w, self.skip):
            f = torch.view_as_real(torch.fft.rfft(x))[..., :self.modes, :]
            re = torch.einsum("bix,iox->box", f[..., 0], w[..., 0]) - torch.einsum("bix,iox->box", f[..., 1], w[..., 1])
            im = torch.einsum("bix,iox->box", f[..., 0], w[..., 1]) + torch.einsum("bix,iox->box", f[..., 1], w[..., 0])
            y = torch.fft.irfft(torch.complex(re, im), n=x.shape[-1])
            x = F.gelu(y + skip(x))
        return self.out(x)


add("science", "fourier_operator", lambda: Model(Fourier().eval(), lambda batch, n: (torch.randn(batch, 2, n),), [dict(batch=2, n=32), dict(batch=1, n=32), dict(batch=3, n=32)]))


# ---- time series ------------------------------------------------------------------------------------------------------------------

class NBeats(nn.Module):
    """Stacks that forecast and subtract what they explain: generic, trend and seasonal bases."""
    def __init__(self, back=24, ahead=6, width=32):
        super().__init__()
        t = torch.arange(back + ahead, dtype=torch.float32) / ahead
        trend = torch.stack([t ** k for k in range(3)])
        season = torch.cat([torch.cos(2 * math.pi * k * t)[None] for k in range(3)] + [torch.sin(2 * math.pi * k * t)[None] for k in range(1, 3)])
        self.back = back
        self.bases = nn.ParameterList([nn.Parameter(torch.randn(8, back + ahead) * 0.3), nn.Parameter(trend, requires_grad=False), nn.Parameter(season, requires_grad=False)])
        self.stacks = nn.ModuleList(nn.Sequential(nn.Linear(back, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, b.shape[0])) for b in self.bases)

    def forward(self, x):
        level = x.abs().amax(1, keepdim=True).clamp_min(1e-3)
        rest, forecast = x / level, 0.0
        for stack, basis in zip(self.stacks, self.bases):
            y = stack(rest) @ basis
            rest, forecast = rest - y[:, :self.back], forecast + y[:, self.back:]
        return forecast * level


class Informer(nn.Module):
    """As Informer: queries with the most to say attend, the others take the mean; convolutions halve the sequence."""
    def __init__(self, width=16, heads=2, channels=4, top=5):
        super().__init__()
        self.heads, self.top = heads, top
        self.embed = nn.Conv1d(channels, width, 3, padding=1, padding_mode="circular")
        self.qkv, self.o = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2)), nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norm, self.distil = nn.ModuleList(nn.LayerNorm(width) for _ in range(2)), nn.Conv1d(width, width, 3, padding=1, padding_mode="circular")
        self.bn, self.out = nn.BatchNorm1d(width), nn.Linear(width, channels)

    def attend(self, x, i):
        b, t, w = x.shape
        q, k, v = self.qkv[i](x).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(w // self.heads)
        best = (scores.amax(-1) - scores.mean(-1)).topk(self.top, dim=-1, sorted=False).indices
        chosen = torch.take_along_dim(scores, best[..., None], 2).softmax(-1) @ v
        out = v.mean(2, keepdim=True).expand(-1, -1, t, -1).scatter(2, best[..., None].expand(-1, -1, -1, w // self.heads), chosen)
        return self.norm[i](x + self.o[i](out.transpose(1, 2).reshape(b, t, w)))

    def forward(self, x):
        x = self.embed(x.transpose(1, 2)).transpose(1, 2)
        x = self.attend(x, 0)
        x = F.max_pool1d(F.elu(self.bn(self.distil(x.transpose(1, 2)))), 3, 2, 1).transpose(1, 2)
        return self.out(self.attend(x, 1)[:, -1:])


class Tcn(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.conv = nn.ModuleList(nn.utils.parametrizations.weight_norm(nn.Conv1d(3 if i == 0 else width, width, 3, dilation=2 ** i)) for i in range(3))
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        for i, conv in enumerate(self.conv):
            x = F.relu(conv(F.pad(x, (2 * 2 ** i, 0))))
        return self.out(x[:, :, -1])


SERIES = [dict(batch=2, n=24), dict(batch=1, n=32), dict(batch=3, n=40)]
add("time series", "nbeats", lambda: Model(NBeats().eval(), lambda batch: (torch.randn(batch, 24),), BATCH))
add("time series", "informer", lambda: Model(warmed(Informer(), (torch.randn(4, 24, 4),)), lambda batch, n: (torch.randn(batch, n, 4),), SERIES))
add("time series", "tcn", lambda: Model(Tcn().eval(), lambda batch, n: (torch.randn(batch, 3, n),), SERIES))


# ---- torch.nn ---------------------------------------------------------------------------------------------------------------------

class Tagger(nn.Module):
    def __init__(self, kind, both):
        super().__init__()
        self.embed = nn.Embedding(50, 12)
        self.rnn = kind(12, 16, 2, batch_first=True, bidirectional=both)
        self.out = nn.Linear(32 if both else 16, 5)

    def forward(self, ids):
        y, _ = self.rnn(self.embed(ids))
        return self.out(y)


for kind in ("LSTM", "GRU"):
    for both in (False, True):
        add("torch.nn", kind.lower() + ("_both" if both else ""), lambda kind=kind, both=both: Model(Tagger(getattr(nn, kind), both).eval(), lambda batch, seq: (torch.randint(0, 50, (batch, seq)),),
            [dict(batch=2, seq=9), dict(batch=1, seq=9), dict(batch=4, seq=9)]))


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Transformer(16, 4, 2, 2, 32, batch_first=True)

    def forward(self, src, tgt):
        n = tgt.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        return self.model(src, tgt, tgt_mask=mask, tgt_is_causal=False)


add("torch.nn", "transformer", lambda: Model(Seq2Seq().eval(), lambda batch, seq, out: (torch.randn(batch, seq, 16), torch.randn(batch, out, 16)), [dict(batch=2, seq=9, out=5), dict(batch=1, seq=6, out=7), dict(batch=3, seq=11, out=4)]))


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 3, padding=1), nn.PixelShuffle(3))

    def forward(self, x):
        return self.layers(x)


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()

        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(True), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(True))
        self.a, self.b, self.c = block(1, c), block(c, 2 * c), block(2 * c, 4 * c)
        self.u1, self.u2 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.d1, self.d2, self.out = block(4 * c, 2 * c), block(2 * c, c), nn.Conv2d(c, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        y = self.u1(self.c(F.max_pool2d(b, 2)))
        y = self.u2(self.d1(torch.cat([b, y], 1)))
        return self.out(self.d2(torch.cat([a, y], 1)))


GREY = [dict(batch=2, height=16, width=24), dict(batch=1, height=24, width=32), dict(batch=3, height=32, width=16)]
add("torch.nn", "super_resolution", lambda: Model(SuperResolution().eval(), lambda batch, height, width: (torch.randn(batch, 1, height, width),), GREY))
add("torch.nn", "unet", lambda: Model(warmed(UNet(), (torch.randn(4, 1, 16, 24),)), lambda batch, height, width: (torch.randn(batch, 1, height, width),), GREY))
