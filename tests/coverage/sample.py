# SPDX-License-Identifier: Apache-2.0
"""sample.py [NAME...] - writes tests/fixtures/pt2/zoo: some of the zoo's programs with dynamic axes, and what PyTorch computed at three sizes, for the
tests of every day. Inputs keep 8 bits of their fraction and all but the weights is deflated, to be small. Run with PyTorch 2.15."""
import io
import os
import sys
import zipfile

sys.argv, names = [sys.argv[0], "--list"], sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
OUT = os.path.join(HERE, "..", "fixtures", "pt2", "zoo")

import numpy as np
import torch

import capture
import zoo

SAMPLE = ["t5", "sam_vision", "deberta_v2", "mixtral", "mamba", "llama_cache", "spectrogram_gru", "conv_tasnet", "fourier_operator"]


def short(p):
    return (p.to(torch.float32).view(torch.int32) & ~0x7FFF).view(torch.float32)


for name in names or SAMPLE:
    torch.manual_seed(0)
    model = zoo.MODELS[name][1]()
    with torch.no_grad():
        for p in [*model.module.parameters(), *model.module.buffers()]:
            if p.dtype == torch.float32 and p.dim() > 1:
                p.copy_(short(p))
    torch.manual_seed(1)
    args = [tuple(short(t) if t.dtype == torch.float32 else t for t in model.inputs(**s)) for s in model.sizes]
    if sum(t.numel() for a in args for t in a) > 40000:
        args = args[:2]
    record = {}
    for prefix, a in zip(("", "other_", "third_"), args):
        record.update({prefix + "in%d" % i: t.numpy() for i, t in enumerate(a)})
        record.update({prefix + "out%d" % i: t.numpy() for i, t in enumerate(capture.outputs(model.module, a))})
    with torch.no_grad():
        program = torch.export.export(model.module, args[0], dynamic_shapes=capture.shapes(model.module, args[0], capture.differing(args)), strict=False)
    for g in [m.graph for m in program.graph_module.modules() if hasattr(m, "graph")]:
        for n in g.nodes:
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn"):
                n.meta.pop(key, None)
    flat = io.BytesIO()
    torch.export.save(program, flat)
    os.makedirs(OUT, exist_ok=True)
    with zipfile.ZipFile(flat) as source, zipfile.ZipFile(os.path.join(OUT, name + ".pt2"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as to:
        for entry in source.infolist():
            weight = "/data/weights/" in entry.filename or "/data/constants/" in entry.filename      # mapped in place: stored
            to.writestr(zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0)), source.read(entry), zipfile.ZIP_STORED if weight else zipfile.ZIP_DEFLATED)
    np.savez_compressed(os.path.join(OUT, name + ".npz"), **record)
    print(name, capture.symbolic(program), os.path.getsize(os.path.join(OUT, name + ".pt2")), os.path.getsize(os.path.join(OUT, name + ".npz")), flush=True)
