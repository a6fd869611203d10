# SPDX-License-Identifier: Apache-2.0
"""capture.py FOLDER NAME - writes NAME-static.pt2, NAME-dynamic.pt2, NAME.npz (inputs and PyTorch's outputs at every size) and NAME.json into FOLDER.
capture.py --list prints the names. Run by the Python whose torch is to be covered; weights are random and seeded, nothing is downloaded."""
import inspect
import json
import os
import sys
import time
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import torch

import zoo
import vision     # noqa: F401  the lists fill zoo.MODELS
import language   # noqa: F401
import other      # noqa: F401
import quantised  # noqa: F401

torch.set_num_threads(1)


def leaves(tree):
    return torch.utils._pytree.tree_leaves(tree)


def differing(args):
    """For each input the axes whose sizes are not the same in all of `args`."""
    return [sorted({axis for other in args[1:] for axis in range(a.dim()) if a.shape[axis] != other[i].shape[axis]}) for i, a in enumerate(args[0])]


def shapes(module, args, differs):
    """dynamic_shapes: AUTO where sizes differ, in the form of forward's signature."""
    spec = [{a: torch.export.Dim.AUTO for a in axes} if axes else None for axes in differs]
    out, at = [], 0
    for p in inspect.signature(module.forward).parameters.values():
        if at >= len(spec):
            break
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            out.append(tuple(spec[at:]))
            at = len(spec)
        else:
            out.append(spec[at])
            at += 1
    return tuple(out)


def outputs(module, args):
    with torch.no_grad():
        return [o.detach().clone() for o in leaves(module(*args)) if isinstance(o, torch.Tensor)]


def in_double(module, args):
    """The same in double, rounded to what the model gives: deep narrow networks with random weights make much of float's own rounding."""
    import copy
    want = outputs(module, args)
    wide = outputs(copy.deepcopy(module).double(), [a.double() if a.is_floating_point() else a for a in args])
    return [w.to(o.dtype) for w, o in zip(wide, want)]


def symbolic(program):
    """The axes of user inputs that stayed open, as "input:axis"."""
    found = []
    user = set(program.graph_signature.user_inputs)
    for n in program.graph.nodes:
        if n.op == "placeholder" and n.name in user and isinstance(n.meta.get("val"), torch.Tensor):
            found += ["%s:%d" % (n.name, a) for a, d in enumerate(n.meta["val"].shape) if not isinstance(d, int)]
    return found


def operators(program):
    names = set()
    for m in program.graph_module.modules():
        if hasattr(m, "graph"):
            names |= {str(n.target) for n in m.graph.nodes if n.op == "call_function" and not str(n.target).startswith("<")}
    return sorted(names)


def main():
    if sys.argv[1] == "--list":
        for name, (kind, _) in zoo.MODELS.items():
            print(kind.replace(" ", "_"), name)
        return
    folder, name = sys.argv[1:3]
    torch.manual_seed(0)
    kind, make = zoo.MODELS[name]
    model = make()
    torch.manual_seed(1)
    args = [model.inputs(**s) for s in model.sizes]
    differs = differing(args)
    info = {"kind": kind, "name": name, "torch": torch.__version__, "relative": model.relative, "double": model.double, "literal": model.literal, "sizes": model.sizes, "variants": {}}
    record = {}
    for k, a in enumerate(args):
        for i, t in enumerate(a):
            record["%d.in%d" % (k, i)] = t.numpy().copy()
        for i, t in enumerate(in_double(model.module, a) if model.double else outputs(model.module, a)):
            record["%d.out%d" % (k, i)] = t.numpy()
    np.savez(os.path.join(folder, name + ".npz"), **record)
    for variant in ("static", "dynamic") if any(differs) else ("static",):
        path = os.path.join(folder, "%s-%s.pt2" % (name, variant))
        started = time.time()
        try:
            with torch.no_grad():
                program = torch.export.export(model.module, args[0], dynamic_shapes=shapes(model.module, args[0], differs) if variant == "dynamic" else None, strict=False)
            torch.export.save(program, path)
            info["variants"][variant] = {"seconds": time.time() - started, "operators": operators(program), "open": symbolic(program), "nodes": sum(n.op == "call_function" for n in program.graph.nodes),
                                         "wanted": ["%d:%d" % (i, a) for i, axes in enumerate(differs) for a in axes]}
        except Exception as error:                      # what torch cannot capture is a result too
            info["variants"][variant] = {"error": ("%s: %s" % (type(error).__name__, error)).splitlines()[0][:300]}
    json.dump(info, open(os.path.join(folder, name + ".json"), "w"))


if __name__ == "__main__":
    main()
