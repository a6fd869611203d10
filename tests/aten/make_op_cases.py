# SPDX-License-Identifier: Apache-2.0
"""Writes tests/fixtures/pt2/ops/*.pt2 and .npz: one program for each family of operators, with many of them in it, and what
PyTorch computed. Run with PyTorch 2.15: python tests/aten/make_op_cases.py [NAME...]. Traces are left out to keep the files small."""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

OUT = os.path.join(os.path.dirname(__file__), "..", "fixtures", "pt2", "ops")
A = torch.ops.aten


def unary(x, p, i, b):
    y = [f(x) for f in (torch.abs, torch.sin, torch.cos, torch.tan, torch.asinh, torch.atan, torch.ceil, torch.floor, torch.round, torch.trunc, torch.sign,
                        torch.exp, torch.expm1, torch.erf, torch.sigmoid, torch.tanh, torch.sinh, torch.cosh, torch.neg, torch.square, torch.frac, torch.erfc,
                        F.relu, F.relu6, F.silu, F.gelu, F.hardswish, F.hardsigmoid, F.hardtanh, F.mish, F.softplus, F.elu, F.celu, F.selu, F.leaky_relu,
                        F.logsigmoid, F.softsign, F.hardshrink, F.softshrink, torch.isnan, torch.isinf, torch.isfinite, torch.logical_not, torch.nan_to_num)]
    y += [f(p) for f in (torch.log, torch.log2, torch.log10, torch.log1p, torch.sqrt, torch.rsqrt, torch.reciprocal)]
    y += [torch.acos(x / 9), torch.asin(x / 9), torch.atanh(x / 9), torch.acosh(p + 1), F.gelu(x, approximate="tanh"), F.threshold(x, 0.1, 20.0), F.glu(x, 1), torch.round(x, decimals=1)]
    y += [torch.abs(i), torch.neg(i), torch.sign(i), torch.bitwise_not(i), torch.bitwise_not(b), torch.logical_not(i), torch.exp(i), torch.sqrt(torch.abs(i)), F.relu(i)]
    return y


def binary(x, y, i, j, b, s, h, u):
    r = [x + y, x - y, x * y, x / y, x + 2, x - 0.5, 3 - x, 2 / x, x ** 2, x ** 0.5, 2 ** x, torch.pow(x.abs(), y), torch.add(x, y, alpha=0.3), torch.sub(x, y, alpha=2)]
    r += [i + j, i - j, i * j, i / j, i // j, i % j, torch.fmod(i, 3), torch.remainder(i, -3), i ** 2, torch.div(i, j, rounding_mode="trunc"), torch.div(i, j, rounding_mode="floor")]
    r += [torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc"), torch.fmod(x, y), torch.remainder(x, y), torch.floor_divide(x, y), torch.atan2(x, y)]
    r += [i + x, i * 0.5, b + i, b * x, b & (i > 0), i & j, i | j, i ^ j, b | b, torch.maximum(x, y), torch.minimum(i, j), torch.max(x, y), torch.hypot(x, y)]
    r += [x == y, x != y, x < y, x <= 0, x > y, x >= 0.1, i == 2, i != j, i < j, i >= 1.5, torch.logical_and(b, i), torch.logical_or(b, x), torch.logical_xor(b, i)]
    r += [s + x, s * i, h + x, h * 2, h + 1.1, u + i, u * u, u - 3, torch.where(b, x, y), torch.where(b, x, 0.0), torch.where(b, i, x), x.masked_fill(b, -1.0)]
    r += [torch.clamp(x, -0.5, 0.5), torch.clamp(i, min=1), torch.clamp_max(x, 0.2), torch.clamp(x, min=y), torch.addcmul(x, x, y, value=0.5), torch.addcdiv(x, x, y), torch.lerp(x, y, 0.3)]
    r += [i << 1, i >> 1, torch.rsub(x, 1), torch.xlogy(x.abs(), y.abs()), torch.logaddexp(x, y), F.prelu(x, s.reshape(1)), torch.bitwise_and(i, 3)]
    return r


def reduce(x, i, b):
    r = [x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.mean(), x.mean(-1), i.sum(), i.sum(0), b.sum(), b.any(), b.all(1), x.amax((0, 1)), x.amin(2, True), x.max(), x.min(), i.max()]
    r += list(x.max(1)) + list(x.min(-1, keepdim=True)) + list(i.max(0)) + [x.argmax(), x.argmax(1), i.argmin(2), x.prod(), x.prod(1), i.prod(2)]
    r += [x.var(), x.var(1), x.var((0, 1), correction=0), x.std(2), x.logsumexp(1), torch.linalg.vector_norm(x), torch.linalg.vector_norm(x, 1, 2), torch.linalg.vector_norm(x, float("inf"), (0, 1))]
    r += [x.cumsum(1), i.cumsum(0), x.cumprod(2), x.softmax(1), x.log_softmax(-1), torch.diff(x, dim=1), b.any(0, keepdim=True), torch.count_nonzero(b)]
    r += list(torch.var_mean(x, 1)) + list(x.topk(2, 1)) + list(x.topk(3, 2, largest=False)) + list(x.sort(1, descending=True)) + [x.argsort(2), F.normalize(x, dim=1), x.sum(dtype=torch.float64)]
    return r


def index(x, i, m, k):
    r = [x[i], x[:, i], x[i, i], x[:, None, i], x[i[:, None], i[None, :]], x[..., i], x[1], x[-1, 1:3], x[:, ::2], x[m], torch.index_select(x, 1, i), x.gather(1, k), torch.take_along_dim(x, k, 1)]
    r += [torch.scatter(x, 1, k, 0.5), torch.scatter(x, 1, k, x * 2), torch.scatter_add(x, 1, k, x), torch.scatter_reduce(x, 1, k, x, "amax")]
    r += [torch.index_put(x, (i,), x[:2] * 3), torch.index_put(x, (i, i), x[0, :2], accumulate=True), torch.index_add(x, 1, i, x[:, :2]), torch.index_copy(x, 1, i, x[:, :2] + 1), x.masked_scatter(m, -x)]
    r += [torch.cat([x, x * 2], 1), torch.cat([x, i.reshape(1, 1, 2).expand(1, 4, 2).float().repeat(1, 1, 2)], 0), torch.stack([x, -x], 2), x.repeat(2, 1, 3), torch.tile(x, (2, 1)), x.roll(1, 1), x.roll((1, -2), (0, 2)), x.flip((0, 2))]
    r += [F.pad(x, (1, 2)), F.pad(x, (1, 1, -1, 2), value=0.5), F.pad(x, (1, 2), "reflect"), F.pad(x, (2, 1), "replicate"), F.pad(x, (1, 1), "circular"), torch.tril(x), torch.triu(x, 1), F.one_hot(i, 5)]
    r += [torch.repeat_interleave(x, 2, 1), torch.nonzero(m), F.embedding(i, x[0]), torch.roll(x, 3), torch.select_scatter(x, x[0], 0, 1), torch.slice_scatter(x, x[:, :2], 1, 1, 4, 2)]
    r += [torch.arange(3, 10, 2), torch.arange(0.0, 1.0, 0.25), torch.linspace(0, 1, 5), torch.full((2, 3), 7), torch.ones_like(i), torch.eye(3, 4), torch.tril_indices(3, 4)] + list(torch.meshgrid(i, i + 1, indexing="xy"))
    return r


def views(x, y):
    r = [x.view(4, 6), x.reshape(-1), x.transpose(0, 2), x.permute(2, 0, 1), x.unsqueeze(1).squeeze(1), x.flatten(1), x.unflatten(2, (2, 2)), x.expand(5, 2, 3, 4), x.movedim(0, 2), x.swapaxes(0, 1), x[0].t()]
    r += list(x.unbind(1)) + list(x.chunk(2, 2)) + list(x.split(2, 1)) + list(torch.split(x, [1, 3], 2)) + list(torch.tensor_split(x, 3, 2))
    r += [x.unfold(2, 2, 1), x.diagonal(0, 1, 2), x.as_strided((2, 3), (4, 2), 1), x.narrow(2, 1, 2), x.select(1, -1), x.mT, x.squeeze(), x.type_as(y), x.to(torch.int32), x.to(torch.bool), x.double(), x.half()]
    z = x.clone()
    z[:, 1].add_(1)
    z.transpose(0, 2)[1].mul_(2)
    z[0, :, 1:3] = y[:3, :2]
    z.view(-1)[5:9].fill_(0.25)
    z[1].copy_(z[0])
    w = y.clone()
    w.relu_()
    w[1:].sub_(w[:-1].clone())
    w.diagonal().zero_()
    w.masked_fill_(w > 1, 1.5)
    return r + [z, w]


def layers(x, w, wd, wt, b, g):
    r = [F.conv2d(x, w, b, 2, 1), F.conv2d(x, wd, None, 1, 1, 1, 4), F.conv2d(x, w[:, :2], b, 1, 0, 2, 2), F.conv2d(x, w, b, padding="same"), F.conv_transpose2d(x, wt, b, 2, 1, 1), F.conv_transpose2d(x, wt[:, :3], None, 1, 0, 0, 2)]
    r += [F.conv1d(x[:, :, 0], w[:, :, 0], b), F.conv3d(x[None], w[:1, :1, None].expand(3, 2, 1, 3, 3)), F.max_pool2d(x, 3, 2, 1), F.max_pool2d(x, 2, 2, ceil_mode=True), F.avg_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 3, 2, 1, True, False), F.adaptive_avg_pool2d(x, (3, 2)), F.adaptive_avg_pool1d(x[0], 4), F.adaptive_avg_pool3d(x[None], (3, 4, 5)), F.adaptive_max_pool2d(x, (7, 3))]
    r += [F.max_pool1d(x[0], 3, 2), F.avg_pool1d(x[0], 2), F.interpolate(x, scale_factor=2), F.interpolate(x, size=(5, 11), mode="bilinear"), F.interpolate(x, size=(9, 13), mode="bilinear", align_corners=True), F.interpolate(x, scale_factor=1.5, mode="bicubic")]
    r += [F.batch_norm(x, b[:4], b[:4].abs() + 1, b[:4], b[1:5]), F.layer_norm(x, (7, 9)), F.layer_norm(x, (9,), x[0, 0, 0], x[0, 0, 1]), F.group_norm(x, 2, b[:4], b[1:5]), F.instance_norm(x), F.rms_norm(x, (9,)), F.grid_sample(x, g), F.grid_sample(x, g, "nearest", "border", True)]
    r += [F.pixel_shuffle(x, 2), F.pixel_unshuffle(x[:, :, :6, :8], 2), F.channel_shuffle(x, 2), F.unfold(x, 3, padding=1), F.local_response_norm(x, 3), F.softmax(x, 1)]
    return r


def products(a, b, c, q, k, v, m):
    r = [a @ b, torch.mm(a, b), torch.addmm(c, a, b, beta=0.5, alpha=2), torch.bmm(q[0], k[0].mT), torch.baddbmm(c[0, 0], q[0], k[0].mT), q @ k.mT, a[0] @ b, a @ b[:, 0], torch.dot(a[0], a[1]), torch.outer(a[0], b[0])]
    r += [F.linear(q, a, c[:, 0]), F.linear(a[0], a), torch.einsum("bhid,bhjd->bhij", q, k), torch.einsum("ij,jk->ki", a, b), torch.einsum("bhid->bd", q), torch.einsum("...d,d", q, a[0]), torch.einsum("ii->i", c)]
    r += [F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True), F.scaled_dot_product_attention(q, k, v, m), F.scaled_dot_product_attention(q, k, v, torch.where(m, 0.0, -1e4), scale=0.3)]
    r += [F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True), torch.arange(6).reshape(2, 3) @ torch.arange(6).reshape(3, 2)]
    return r


def rare(x, y, i):
    r = [torch.cdist(x, y), torch.cdist(x, y, 1), F.pairwise_distance(x, y), F.cosine_similarity(x, y, dim=1), torch.searchsorted(x.sort(-1).values, y), torch.bucketize(y, x[0, 0].sort().values, right=True)]
    r += list(x.median(1)) + list(torch.aminmax(x, dim=1)) + [torch.take(x, i), torch.nanmean(x, 1), torch.vstack([x[0], y[1]]), torch.hstack([x[0], y[1]]), torch.hstack([x[0, 0], y[0, 0]]), torch.deg2rad(x)]
    r += [torch.rad2deg(x), torch.logit(torch.sigmoid(x)), torch.ravel(x), torch.diagonal_scatter(x[0, :4], y[0, 0]), torch.isposinf(x / 0), torch.greater(x, 0.5), torch.not_equal(x, y)]
    z = x.clone()
    z.div_(0.3, rounding_mode="floor").pow_(2)
    return r + [z]


def halves(x, w, b, g):
    h = F.linear(x, w, b)
    r = [h, F.layer_norm(h, (6,), g, b), h.softmax(-1), F.gelu(h), h + x.sum(), h * 0.1, h.mean(1), x.float() @ w.float().t(), F.scaled_dot_product_attention(x[None], x[None], x[None]), h.to(torch.bfloat16) * 3, h > 0.3]
    return r + [F.silu(h.bfloat16()), h.bfloat16().float() + 1, torch.cat([h, h.bfloat16()], 0)]


def evaluator(x, y, k):
    """What the evaluator knows and ONNX export refuses."""
    r = [torch.fmax(x, y), torch.copysign(x, y), torch.scatter_reduce(x, 1, k, x, "mean", include_self=False), F.adaptive_max_pool2d(x, (2, 3)), torch.histc(x, 5, -2, 2)]
    w = x.clone()
    w.unsqueeze_(0).transpose_(1, 3)
    return r + list(x.cummax(1)) + [torch.sinc(x), w, w.squeeze_(0)]


def losses(x, y, p, t, c, ci, w):
    r = [f(x, y, reduction=how) for f in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss) for how in ("mean", "sum", "none")]
    r += [F.smooth_l1_loss(x, y, beta=0.3), F.huber_loss(x, y, delta=0.4), F.binary_cross_entropy(p, t), F.binary_cross_entropy(p, t, weight=p, reduction="sum")]
    r += [F.binary_cross_entropy_with_logits(x, t), F.binary_cross_entropy_with_logits(x, t, weight=p, reduction="none"), F.cross_entropy(x, c), F.cross_entropy(x, c, weight=w, ignore_index=1, reduction="sum")]
    return r + [F.cross_entropy(x[:, :, None].expand(3, 4, 2), ci, reduction="none"), F.nll_loss(p, c, weight=w), F.nll_loss(p.log(), c, ignore_index=2)]


def odd(x, y, v, g):
    r = [F.bilinear(x[0], y[0], v[:, :4, :4], x[0, 0, :2]), F.bilinear(x, y, v[:, :4, :4]), *torch.broadcast_tensors(x[0], y[:, :1], x[0, 0]), torch.cartesian_prod(x[0, 0], y[0, 0]), torch.cartesian_prod(x[0, 0], y[0, 0], x[0, 1])]
    r += [torch.rot90(x), torch.rot90(x, 2, (1, 2)), torch.rot90(x, -1, (0, 2)), torch.isclose(x, y, rtol=0.3), torch.isclose(x, x + 1e-7), torch.linalg.norm(x), torch.linalg.norm(x, dim=1), torch.linalg.norm(x[0, 0], 1), torch.arccos(x / 9)]
    import transformers.integrations.moe    # noqa: F401  registers the operator
    r += [torch.histc(x, 5, -2, 2), torch.histc(x, 4, 0, 3), torch.pdist(x[0]), torch.pdist(x[0], 1), A._pdist_forward(x[0], 3.0)]
    r += [torch.ops.transformers.grouped_mm_fallback(x[0], v[:, :4, :3], torch.tensor([2, 5])), torch.ops.transformers.grouped_mm_fallback(x[1], v[:, :4, :3], torch.tensor([0, 4], dtype=torch.int32))]
    r += [torch.arcsin(x / 9), torch.arctan(x), *A.split_copy.Tensor(x, 2, 1), *torch.tensor_split(x, (1, 3, 9), 1), *torch.tensor_split(x, (2,), -1), A._trilinear(x, y, x + 1, [], [], [], [1]), A._trilinear(x[0], y[:, :, 0], x[1], [0], [2], [0], [0])]
    w = torch.stack([v, -v], 1)[:, :, None] * torch.arange(1, 4)[:, None, None]
    r += [F.grid_sample(w, g), F.grid_sample(w, g, "nearest", "border", True), F.grid_sample(w, g, padding_mode="reflection")]
    return r


def smooth(x):
    return [F.interpolate(x, size=s, mode=m, antialias=True) for m in ("bilinear", "bicubic") for s in ((3, 4), (11, 5))] + [F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True)]


def vision(boxes, scores, kinds, x, rois, offset, mask, w, b):
    from torchvision import ops
    keep = ops.nms(boxes, scores, 0.3)
    r = [keep, boxes[keep], ops.nms(boxes, scores, 0.7), ops.batched_nms(boxes, scores, kinds, 0.3)]
    r += [ops.roi_align(x, rois, (3, 5), 0.5, 2, True), ops.roi_align(x, rois, (3, 3), 1.0, 2, False), ops.roi_align(x, rois, (2, 2), 0.7, -1, True), ops.roi_pool(x, rois, (3, 3), 0.5)]
    r += [ops.deform_conv2d(x, offset, w, b, mask=mask), ops.deform_conv2d(x, offset, w), ops.deform_conv2d(x, torch.cat([offset, offset * 0.5], 1), w[:, :2], None, mask=torch.cat([mask, mask], 1))]
    return r + [ops.deform_conv2d(x, offset[:, :, :5, :5], w, b, stride=(1, 2), padding=(1, 2), dilation=(3, 2))]


def sensitive(x, rois):
    import torchvision    # noqa: F401  registers the operators
    P = torch.ops.torchvision
    return [*P.ps_roi_align(x, rois, 0.5, 2, 3, 2), *P.ps_roi_align(x, rois, 0.7, 3, 2, -1), *P.ps_roi_pool(x, rois, 0.5, 3, 2), P.ps_roi_pool(x, rois * torch.tensor([1, -0.3, 1, 1, 1.6]), 1.1, 2, 3)[0]]


def quant(x, s, z):
    import torch.ao.quantization.fx._decomposed    # noqa: F401  registers the operators
    Q = torch.ops.quantized_decomposed
    i8, u8, i16, i32 = torch.int8, torch.uint8, torch.int16, torch.int32
    a, b = Q.quantize_per_tensor(x, 0.05, 3, -128, 127, i8), Q.quantize_per_tensor(x, 0.04, 110, 0, 255, u8)
    c, d = Q.quantize_per_tensor(x, 0.05, 0, -100, 90, i8), Q.quantize_per_tensor(x, 0.001, 0, -2 ** 31, 2 ** 31 - 1, i32)
    e, f = Q.quantize_per_channel(x, s, z, 1, -127, 127, i8), Q.quantize_per_tensor.tensor(x, s[0], z[1], -128, 127, i8)
    g, h = Q.quantize_per_token(x[0], s[:, None].abs(), z[:, None], -128, 127, i8), Q.quantize_per_tensor(x, 0.0003, 5, -32768, 32767, i16)
    scale, zero = Q.choose_qparams.tensor(x, -128, 127, 1e-5, i8)
    r = [a, b, c, d, e, f, g, h, scale, zero, Q.dequantize_per_tensor(a, 0.05, 3, -128, 127, i8), Q.dequantize_per_tensor(b, 0.04, 110, 0, 255, u8), Q.dequantize_per_tensor(d, 0.001, 0, -2 ** 31, 2 ** 31 - 1, i32)]
    r += [Q.dequantize_per_channel(e, s, z, 1, -127, 127, i8), Q.dequantize_per_channel(e, s, None, 1, -127, 127, i8), Q.dequantize_per_tensor.tensor(f, s[0], z[1], -128, 127, i8)]
    return r + [Q.dequantize_per_token(g, s[:, None].abs(), z[:, None], -128, 127, i8, torch.float32), Q.dequantize_per_tensor.tensor(Q.quantize_per_tensor.tensor(x, scale, zero, -128, 127, i8), scale, zero, -128, 127, i8)]


def asserts(x, i):
    n = i.item()
    torch._check(n >= 1)
    torch._check(n <= 3)
    torch._assert_async((x > -100).all(), "x is above -100")
    return [x * n, torch.ones(n, 2)]


def control(x, y):
    from torch._higher_order_ops.associative_scan import associative_scan
    from torch._higher_order_ops.map import map as map_
    from torch._higher_order_ops.scan import scan
    from torch._higher_order_ops.while_loop import while_loop
    r = [*while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, a * 0.5 + y[0]), (torch.tensor(0), y[0].clone())), *while_loop(lambda a: a.sum() < 40, lambda a: (a.abs() * 1.5 + 0.1,), (y,))]
    r += [*scan(lambda c, a: (torch.tanh(c + a), (c * a).sum(0)), torch.zeros(3, 4), x, dim=0), *scan(lambda c, a: (c + a, c * a), torch.ones(5, 4), x.transpose(0, 1).contiguous(), dim=0, reverse=True)]
    r += [*associative_scan(lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), (x, x.cos()), 0, combine_mode="pointwise"), associative_scan(torch.maximum, x, 1, reverse=True, combine_mode="pointwise")]
    r += [map_(lambda a, b: a @ b, x, y.t()), torch.cond(x.sum() > 1e6, lambda a: a.sin(), lambda a: torch.cond(a.mean() > -1e6, lambda b: b * 2, lambda b: b - 1, (a,)), (x,))]
    return r


ROTATION = torch.polar(torch.ones(3, 4), torch.arange(12.0).reshape(3, 4))


def complex_(x, a, b, w):
    f, g, h = torch.fft.rfft(x), torch.fft.fft(x), torch.fft.fft2(a[..., 0].expand(2, 3, 4))
    r = [f.abs(), f[:, 1:-1].angle(), f.real, f.imag, torch.view_as_real(g), torch.fft.irfft(f), torch.fft.ifft(g).real, h.imag, torch.fft.irfft(f * 2j * (1 + 1j), norm="ortho"), torch.fft.irfft(f.conj(), n=15), torch.fft.irfft(f, n=24)]
    r += [torch.fft.rfft(x, n=12, norm="forward").real, torch.fft.rfft(x, 20, 0, "ortho").imag, torch.fft.rfft2(x).real, torch.fft.irfft2(torch.fft.rfft2(x)), torch.fft.fftn(x).imag, torch.fft.ifft2(h, norm="forward").real]
    s = torch.stft(x, 8, 2, window=w, return_complex=True)
    r += [torch.view_as_real(s), torch.stft(x, 8, 4, return_complex=True, center=False, onesided=False, normalized=True).abs(), torch.istft(s, 8, 2, window=w), torch.istft(s, 8, 2, window=w, length=13)]
    p, q = torch.view_as_complex(a), torch.view_as_complex(b)
    z, c = torch.polar(a[..., 0].abs(), a[..., 1]), torch.complex(a[..., 0], b[..., 1])
    r += [torch.view_as_real(t.resolve_conj()) for t in (p * q, p + q, p - q, p / q, p.conj(), p.exp(), z * c, p @ q.t(), torch.stack([p, q]), p.reshape(4, 3).t()[:, 1:], p * 2, p + 1.5, -p, p * (1 + 2j), torch.cat([p, q], 1),
                                                         p.unsqueeze(1).expand(3, 2, 4), p * ROTATION, 2 / p, p - (1 - 2j), p / 2)]
    return r + [p.abs(), p.angle(), p.real + q.imag]


def complex_in(p, q, v, d, x):
    r = [p * q + x, p @ q.t(), p @ v, v @ q.t(), torch.dot(v, v), torch.outer(v, v), torch.bmm(p[None], q.t()[None]), torch.einsum("ij,kj,kl->il", p, q, p), torch.einsum("ij,kj,kl,l->i", p, x + 0j, q, v), torch.einsum("ij,ij,j->i", p, p, v), d * (2 - 1j), p.abs() * d.real]
    return [torch.view_as_real(t) if t.is_complex() else t for t in r]


def complex_parts(p, q, i, k, w, d):
    r = [p.sum(), p.sum(1), p.sum((0, 1), keepdim=True), p.mean(), p.mean(0), p.cumsum(1), p[:, i], p[i, i], p[q.real > 0], torch.index_select(p, 1, i), p.gather(1, k), p.roll(1, 1), p.roll((1, -2), (0, 1)), p.flip((0, 1)), p.repeat(2, 1)]
    r += [F.pad(p, (1, 2)), torch.fft.fftshift(p), torch.fft.ifftshift(p, 1), torch.where(q.real > 0, p, q), torch.where(q.imag > 0, p, q.real), F.embedding(i, p), p.mT, p.view_as(q), d.sum(0), d.mean()]
    return [torch.view_as_real(t.resolve_conj()) for t in r + [F.conv1d(p[None], w), F.conv1d(p[None], w.real + 0j, padding=1), F.conv2d(p[None, None], w[None, :1] * 2j)]]


def counts(i, w, x, y, k, b):
    r = [torch.bincount(i), torch.bincount(i, minlength=12), torch.bincount(i, w), torch.bincount(i, w.double(), 3), torch.bincount(i[:0], minlength=4)]
    r += [torch.diff(x, prepend=y), torch.diff(x, dim=1, append=x[:, :2], n=2), torch.diff(i, prepend=i[:1] - 1), torch.diff(b), torch.diff(b, prepend=b[:1], append=b[:2]), torch.diff(x, n=3, dim=0, prepend=x[:1], append=y.expand(3, 5, 4)), torch.diff(x, n=0, prepend=y)]
    return r + [torch.diff(k, prepend=k[:, :1] - 1, dim=-1), (torch.diff(k, prepend=k[:, :1] - 1, dim=-1) != 1).cumsum(-1)]


def unique(i, x, b, h):
    r = [*torch.unique(i, return_inverse=True, return_counts=True), torch.unique(x), torch.unique(b), torch.unique(i[0, 0]), *torch.unique(h, return_counts=True), *torch.unique(i, dim=0, return_inverse=True, return_counts=True)]
    r += [*torch.unique(i, dim=-1, return_inverse=True), torch.unique(x, dim=1), *torch.unique_consecutive(i, return_inverse=True, return_counts=True), torch.unique_consecutive(x)]
    return r + [*torch.unique_consecutive(i, dim=0, return_inverse=True, return_counts=True), torch.unique_consecutive(x, dim=1), torch.unique_consecutive(b), *torch.unique_consecutive(i[:0], return_counts=True)]


def bytes_(a, b):
    return [F.max_pool2d(a, 3, 2, 1), F.max_pool2d(b, 2, 2, ceil_mode=True), F.max_pool2d(b, 3, 1, 1)]


def gen(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape):
    return torch.randn(*shape, generator=gen(sum(shape)))


X = randn(2, 3, 4)
CASES = {
    "unary": (unary, (randn(3, 4) * 2, randn(2, 5).abs() + 0.1, torch.tensor([[-2, 0, 3], [5, -7, 1]]), torch.tensor([True, False]))),
    "binary": (binary, (randn(2, 3), randn(3) + 3, torch.tensor([[-7, 2, 3], [9, -5, 1]]), torch.tensor([2, -3, 4]), torch.tensor([True, False, True]), torch.tensor(0.7), randn(3).half(), torch.tensor([250, 7, 1], dtype=torch.uint8))),
    "reduce": (reduce, (X, torch.tensor([[[3, 1], [2, 7]], [[5, 5], [0, -4]]]), torch.tensor([[True, False, True], [True, True, True]]))),
    "index": (index, (randn(3, 4, 4), torch.tensor([2, 0]), randn(3, 4, 4) > 0, torch.tensor([[[0, 1, 3, 2]], [[1, 1, 0, 3]], [[2, 0, 1, 1]]]).repeat(1, 4, 1))),
    "rare": (rare, (randn(3, 5, 4), -randn(3, 5, 4) * 0.8, torch.tensor([[3, -1], [7, 20]]))),
    "halves": (halves, (randn(4, 5).half(), randn(6, 5).half(), randn(6).half(), randn(6).half() + 1)),
    "evaluator": (evaluator, (randn(3, 4, 4), -randn(3, 4, 4), torch.tensor([[[0, 1, 3, 2]], [[1, 1, 0, 3]], [[2, 0, 1, 1]]]).repeat(1, 4, 1))),
    "losses": (losses, (randn(3, 4), -randn(3, 4) * 0.4, torch.sigmoid(randn(3, 4)), torch.sigmoid(randn(3, 4) * 2), torch.tensor([2, 0, 1]), torch.tensor([[2, 0], [1, 3], [0, 0]]), torch.tensor([0.5, 1.0, 2.0, 0.7]))),
    "odd": (odd, (randn(3, 5, 4), randn(3, 5, 4).flip(0) * 0.8, randn(2, 5, 5), torch.tanh(randn(2, 2, 3, 2, 3)))),
    "counts": (counts, (torch.tensor([3, 1, 4, 1, 5, 0, 2, 6]), randn(8), randn(3, 5, 4), randn(3, 5, 1), torch.tensor([[0, 1, 2, 0, 1], [4, 5, 0, 1, 2]]), torch.tensor([True, False, False, True]))),
    "sensitive": (sensitive, (randn(2, 12, 9, 8), torch.cat([(torch.arange(6) % 2).float()[:, None], randn(6, 2).abs() * 4, randn(6, 2).abs() * 4 + 5], 1))),
    "complex_in": (complex_in, (torch.view_as_complex(randn(3, 4, 2)), torch.view_as_complex(randn(3, 4, 2).flip(0) + 0.1), torch.view_as_complex(randn(4, 2)), torch.view_as_complex(randn(3, 4, 2).double().contiguous()), randn(3, 4))),
    "complex_parts": (complex_parts, (torch.view_as_complex(randn(3, 4, 2)), torch.view_as_complex(randn(3, 4, 2).flip(0) + 0.1), torch.tensor([2, 0]), torch.tensor([[0, 1, 3, 2], [1, 1, 0, 3], [2, 0, 1, 1]]), torch.view_as_complex(randn(2, 3, 3, 2)),
                                      torch.view_as_complex(randn(3, 4, 2).double().contiguous()))),
    "bytes": (bytes_, (torch.arange(60, dtype=torch.uint8).reshape(1, 2, 5, 6) * 37 + 11, (torch.arange(60).reshape(1, 2, 5, 6) * 29 % 256 - 128).to(torch.int8))),
    "unique": (unique, (torch.tensor([[3, 1, 1], [3, 1, 1], [0, 7, 7], [3, 1, 1]]), torch.tensor([[2.5, 2.5, -1, -1], [2.5, 2.5, 0, 0]]), torch.tensor([True, True, False, True]), torch.tensor([1.5, -2, 1.5]).half())),
    "smooth": (smooth, (randn(1, 2, 7, 9),)),
    "vision": (vision, (torch.cat([randn(12, 2).abs() * 9, randn(12, 2).abs() * 9 + randn(12, 2).abs() * 12 + 1], 1), torch.rand(12, generator=gen(5)), torch.arange(12) % 3, randn(2, 4, 9, 9),
                        torch.cat([(torch.arange(5) % 2).float()[:, None], randn(5, 2).abs() * 3, randn(5, 2).abs() * 3 + 4], 1), randn(2, 18, 7, 7), torch.sigmoid(randn(2, 9, 7, 7)), randn(6, 4, 3, 3), randn(6))),
    "quant": (quant, (randn(3, 3, 4) * 2, torch.tensor([0.03, 0.05, 0.02]), torch.tensor([0, 5, -7]))),
    "asserts": (asserts, (randn(2, 3), torch.tensor(2))),
    "control": (control, (randn(5, 3, 4), randn(2, 4))),
    "complex": (complex_, (randn(2, 16), randn(3, 4, 2), randn(3, 4, 2).flip(0) + 0.1, torch.hann_window(8))),
    "views": (views, (X, randn(3, 3))),
    "layers": (layers, (randn(2, 4, 7, 9), randn(6, 4, 3, 3), randn(4, 1, 3, 3), randn(4, 6, 3, 3), randn(6).abs(), torch.tanh(randn(2, 3, 4, 2)))),
    "products": (products, (randn(5, 6), randn(6, 5)[:, :5], randn(5, 5), randn(2, 2, 5, 6), randn(2, 2, 5, 6) * 1.1, randn(2, 2, 5, 3), torch.tensor([[True, False, True, True, False]] * 5))),
}


class Case(torch.nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *args):
        return tuple(self.fn(*args))


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, (fn, args) in CASES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        with torch.no_grad():
            want = fn(*[a.clone() for a in args])
            ep = torch.export.export(Case(fn), args)
        for g in [m.graph for m in ep.graph_module.modules() if hasattr(m, "graph")]:
            for n in g.nodes:
                for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn"):
                    n.meta.pop(key, None)
        torch.export.save(ep, os.path.join(OUT, name + ".pt2"))
        rec = {"in%d" % i: a.numpy() for i, a in enumerate(args)}
        rec.update({"out%d" % i: (w.float() if w.dtype == torch.bfloat16 else w).detach().numpy() for i, w in enumerate(want)})
        np.savez_compressed(os.path.join(OUT, name + ".npz"), **rec)


if __name__ == "__main__":
    main()
