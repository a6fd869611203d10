#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""traces.py FERRY [--only NAME,...] [--jobs N] [--redo capture|ferry] [--report]
traces.py --capture FOLDER NAME

torchvision at full width as TorchScript, detectors with NMS inside among them: traced or scripted by PyTorch, exported with the gates on, checked by
onnx, run by onnxruntime and by ferry's engine at every size, compared with what PyTorch computed. Results stay in build/coverage/traces, so that a run
goes on where it stopped; docs/coverage-traces.md is written from them.

Run by a Python with onnx, onnxruntime, numpy; FERRY_TORCH names one with torch and torchvision, which runs --capture. Weights are random and seeded."""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

import numpy as np

from stages import Stages

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODELS = {}                                             # name -> (kind, how, make, sizes)

# ---- what is captured ------------------------------------------------------------------------------------------------------------------------


def add(kind, how, name, sizes, **kw):
    MODELS[name + (" script" if how == "script" else "")] = (kind, how, lambda: make(kind, name, dict(kw)), sizes)


def make(kind, name, kw):
    import torch
    import torchvision
    import zoo
    torch.manual_seed(kw.pop("seed", 0))
    groups = {"segmentation": torchvision.models.segmentation, "detection": torchvision.models.detection, "video": torchvision.models.video}
    model = getattr(groups.get(kind, torchvision.models), name)(weights=None, **({"weights_backbone": None} if kind in ("segmentation", "detection") else {}), **kw)
    if kind == "detection":
        frozen(model)
        if "ssdlite" in name:                           # without statistics of their own its features die on their way up, and many boxes have one score
            zoo.warmed(model, ([torch.rand(3, 224, 288) for _ in range(4)],), 1)
        return one_image(separate(model, (3, 224, 288)))
    return zoo.warmed(model, (torch.randn(4, *((3, 8, 112, 112) if kind == "video" else (3, 96, 96) if kind == "segmentation" else (3, 299, 299) if "inception" in name else (3, 224, 224))),), 1)


def frozen(model):
    """Batch norms with statistics that are not the identity; detectors freeze theirs."""
    import torch
    from torchvision.ops import FrozenBatchNorm2d
    for m in model.modules():
        if isinstance(m, (torch.nn.BatchNorm2d, FrozenBatchNorm2d)):
            torch.nn.init.uniform_(m.running_var, 0.8, 1.5)
            torch.nn.init.normal_(m.running_mean, 0, 0.05)
    return model.eval()


def separate(model, size):
    """Scores that are neither all alike nor at 0 or 1: which boxes are best must not hang on rounding. The last layers of scores are scaled to logits of order one."""
    import torch
    seen = {}

    def note(m, _, y):
        bias = m.bias.reshape(-1, 1, 1) if y.dim() == 4 else m.bias
        seen[m] = max(seen.get(m, 0.0), float((y - bias).std()))
    for name, m in model.named_modules():
        last = name.endswith(("cls_score", "cls_logits")) or "classification_head.module_list" in name
        if last and isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and m.bias is not None:
            torch.nn.init.orthogonal_(m.weight)
            torch.nn.init.normal_(m.bias, 0, 0.5)
            m.register_forward_hook(note)
    with torch.no_grad():
        model([torch.rand(size)])
        for m, deviation in seen.items():
            m.weight.mul_(1 / max(deviation, 1e-6))
            m._forward_hooks.clear()
    return model


def one_image(model):
    import torch
    from torch import Tensor
    from typing import Dict, List

    class OneImage(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Dict[str, Tensor]:
            images: List[Tensor] = [x]
            if torch.jit.is_scripting():
                return self.model(images)[1][0]
            return self.model(images)[0]
    return OneImage().eval()


PICTURES = [(1, 3, 224, 224), (3, 3, 224, 224)]
ANY = [(1, 3, 224, 224), (2, 3, 160, 256)]
for NAME in ("alexnet vgg11_bn vgg16 resnet18 resnet50 resnet101 resnext50_32x4d wide_resnet50_2 densenet121 densenet161 googlenet mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_0 "
             "shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1 efficientnet_b0 efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny vit_b_16 vit_b_32 swin_t swin_v2_t maxvit_t").split():
    add("classification", "trace", NAME, PICTURES, **({"init_weights": False} if NAME == "googlenet" else {}))
add("classification", "trace", "inception_v3", [(1, 3, 299, 299), (3, 3, 299, 299)], init_weights=False)
for NAME in "fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split():
    add("segmentation", "trace", NAME, [(1, 3, 224, 224), (2, 3, 224, 224)])
for NAME in "fasterrcnn_resnet50_fpn fasterrcnn_mobilenet_v3_large_fpn maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn".split():      # seed: no box of a mask within rounding of a whole number, where its pixels jump
    add("detection", "trace", NAME, [(3, 224, 288)], seed=2 if NAME.startswith("mask") else 0, min_size=224, max_size=320, box_score_thresh=0.0, box_detections_per_img=20, rpn_pre_nms_top_n_test=100, rpn_post_nms_top_n_test=50)
for NAME in "retinanet_resnet50_fpn fcos_resnet50_fpn".split():
    add("detection", "trace", NAME, [(3, 224, 288)], min_size=224, max_size=320, score_thresh=0.0, topk_candidates=50, detections_per_img=20)
for NAME in "ssd300_vgg16 ssdlite320_mobilenet_v3_large".split():
    add("detection", "trace", NAME, [(3, 224, 288)], seed=1 if NAME.startswith("ssdlite") else 0, score_thresh=0.001, topk_candidates=20, detections_per_img=20)
for NAME in "r3d_18 r2plus1d_18 mc3_18".split():
    add("video", "trace", NAME, [(1, 3, 14, 112, 112), (2, 3, 14, 112, 112)])
for NAME in "resnet50 mobilenet_v3_large densenet121 googlenet efficientnet_b0 convnext_tiny swin_t".split():
    add("classification", "script", NAME, ANY, **({"init_weights": False} if NAME == "googlenet" else {}))
for NAME in "fcn_resnet50 lraspp_mobilenet_v3_large".split():
    add("segmentation", "script", NAME, ANY)
add("detection", "script", "fasterrcnn_mobilenet_v3_large_fpn", [(3, 224, 288), (3, 200, 240)], min_size=224, max_size=320, box_score_thresh=0.0, box_detections_per_img=20, rpn_pre_nms_top_n_test=100,
    rpn_post_nms_top_n_test=50)
add("detection", "script", "retinanet_resnet50_fpn", [(3, 224, 288), (3, 200, 240)], min_size=224, max_size=320, score_thresh=0.0, topk_candidates=50, detections_per_img=20)
add("detection", "script", "fcos_resnet50_fpn", [(3, 224, 288), (3, 200, 240)], min_size=224, max_size=320, score_thresh=0.0, topk_candidates=50, detections_per_img=20)
add("detection", "script", "ssd300_vgg16", [(3, 224, 288), (3, 200, 240)], score_thresh=0.001, topk_candidates=20, detections_per_img=20)


def leaves(model, x):
    import torch
    with torch.no_grad():
        return [y.clone() for y in torch.utils._pytree.tree_leaves(model(x))]


def overlap(a, b):
    """Intersection over union of boxes [n, 4] with boxes [m, 4]."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    both, area = sides.clip(0).prod(2), [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return both / (area[0][:, None] + area[1][None] - both)


def beside(got, want, names):
    """Detections as a set: those of `got` in the order of `want`, each beside the one of its label, of a score within 1e-4, at the same place (overlap above 0.999);
    how many of them stood elsewhere. ValueError if one has no partner."""
    (boxes, theirs), (labels, right), (scores, truth) = (tuple(np.asarray(x[names.index(k)]) for x in (got, want)) for k in ("boxes", "labels", "scores"))
    if len(boxes) != len(theirs):
        raise ValueError("%d boxes, not %d" % (len(boxes), len(theirs)))
    same = (overlap(theirs.astype(float), boxes.astype(float)) > 0.999) & (right[:, None] == labels[None]) & (abs(truth[:, None].astype(float) - scores[None]) < 1e-4)
    order = []
    for k, row in enumerate(same):
        free = [j for j in np.flatnonzero(row) if j not in order]
        if not free:
            raise ValueError("box %d, label %d, score %.6f has no partner" % (k, right[k], truth[k]))
        order.append(k if k in free else free[0])
    return [np.asarray(y)[order] for y in got], sum(k != j for k, j in enumerate(order))


def off(got, want):
    """How far PyTorch's float is off its double, by the measure of coverage.error_of."""
    return max(float(abs(a.astype(float) - b).max(initial=0)) / max(1.0, float(np.ptp(b)) if abs(b).max(initial=0) > 3 else 1.0) for a, b in zip(got, want))


def capture(folder, name):
    import copy
    import inspect
    import warnings
    warnings.filterwarnings("ignore")
    import torch
    torch.set_num_threads(1)
    kind, how, build, sizes = MODELS[name]
    model = build()
    for m in model.modules():                           # heads that start as zeros would compare nothing
        if isinstance(m, torch.nn.Linear) and not m.weight.any():
            torch.nn.init.normal_(m.weight, 0, 0.05)
    torch.manual_seed(1)
    inputs = [torch.rand(s) if kind == "detection" else torch.randn(s) for s in sizes]
    record, own, noise, outputs = {}, 0.0, 0.0, []
    for k, x in enumerate(inputs):
        record["%d.in0" % k] = x.numpy()
        want = leaves(model, x)
        if kind != "detection":                         # the truth is what PyTorch computes in double; how far its own float is from that is kept
            single, want = want, [w.to(y.dtype) for w, y in zip(leaves(copy.deepcopy(model).double(), x.double()), want)]
            own = max(own, off([y.numpy() for y in single], [y.numpy() for y in want]))
        for i, y in enumerate(want):
            record["%d.out%d" % (k, i)] = y.numpy()
    if kind == "detection":                             # here in float, as the boxes that are kept hang on it; `noise`: the same on what the gate of export makes up
        with torch.no_grad():
            outputs = list(model(inputs[0]))
        double = copy.deepcopy(model).double()

        def rounding(x):
            truth = [y.numpy() for y in leaves(double, x.double())]
            return off(beside([y.numpy() for y in leaves(model, x)], truth, outputs)[0], truth)
        own = rounding(inputs[0])
        for _ in range(3):
            try:
                noise = max(noise, rounding(torch.randn(sizes[0])))
            except ValueError:                          # scores that tie: other boxes are kept
                pass
    started = time.time()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, inputs[0], check_trace=False, strict=False)
    made.save(os.path.join(folder, name.replace(" ", "-") + ".pt"))
    np.savez(os.path.join(folder, name.replace(" ", "-") + ".npz"), **record)
    name_of_input = list(inspect.signature(model.forward).parameters)[0]
    json.dump({"torch": torch.__version__, "seconds": time.time() - started, "input": name_of_input, "own": own, "noise": noise, "outputs": outputs}, open(os.path.join(folder, name.replace(" ", "-") + ".json"), "w"))


# ---- what is exported ------------------------------------------------------------------------------------------------------------------------

AXES = {4: ["batch", None, "height", "width"], 3: [None, "height", "width"], 5: ["batch", None, "frames", "height", "width"]}


class Job(Stages):
    def __init__(self, options, name):
        super().__init__(options, options.folder, name)
        self.kind, self.how, _, self.sizes = MODELS[name]
        self.moved = 0

    def capture(self):
        import coverage
        code, _, _, _, text = coverage.run([*self.o.through, self.o.python, os.path.abspath(__file__), "--capture", self.o.folder, self.name], self.o.timeout)
        return {"error": coverage.last(text)} if code else json.load(open(self.path(".json")))

    def flags(self, name):
        first, flags = self.sizes[0], []
        if self.how == "script":
            flags += ["--shape", "%s=%s" % (name, "x".join(map(str, first)))]
        for axis, symbol in enumerate(AXES[len(first)]):
            if any(s[axis] != first[axis] for s in self.sizes):
                flags += ["--dynamic", "%s:%d=%s" % (name, axis, symbol)]
        return flags

    def gate(self, info):
        import coverage
        return max(coverage.TOLERANCE, 2 * info["noise"])

    def error(self, got, want, relative, info):
        """The largest error; detections are compared as a set."""
        import coverage
        moved = 0
        if info["outputs"]:
            got, moved = beside(got, want, info["outputs"])
        self.moved = max(self.moved, moved)
        return coverage.error_of(got, want, relative)

    def ferry(self, info):
        import coverage
        import onnx
        import onnxruntime
        record = np.load(self.path(".npz"))
        sizes = [[record[k] for k in record.files if k.startswith("%d.out" % n)] for n in range(len(self.sizes))]
        relative = any(np.abs(y[np.isfinite(y)]).max(initial=0) > coverage.LARGE for outs in sizes for y in outs if y.dtype.kind == "f")
        out, model = {"relative": relative}, self.path(".onnx")
        code, out["wall"], out["cpu"], out["peak"], text = coverage.run(
            [*self.o.through, self.o.ferry, "export", self.path(".pt"), "-o", model, "--opset", str(coverage.OPSET), "--threads", "1", *self.flags(info["input"]), *(["--relative-to-range"] if relative else []), "--tolerance", "%.1e" % self.gate(info)], self.o.timeout)
        out["ties"] = "ties are broken" in text
        if code:
            gate = [line.strip() for line in text.splitlines() if "NOT the same" in line or "values part first" in line]
            return dict(out, error="export: " + ("; ".join(gate).replace(self.o.folder + os.sep, "") if gate else coverage.last(text)))
        out["nodes"] = coverage.count(model)
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads, session.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(model, session, providers=["CPUExecutionProvider"])
        order, name = [o.name for o in session.get_outputs()], session.get_inputs()[0].name
        out["errors"] = {"ferry": 0.0, "onnxruntime": 0.0}
        for k, want in enumerate(sizes):
            feed = {name: record["%d.in0" % k]}
            out["errors"]["onnxruntime"] = max(out["errors"]["onnxruntime"], self.error(session.run(None, feed), want, relative, info))
            np.savez(self.path(".feed.npz"), **feed)
            code, _, _, _, text = coverage.run([self.o.ferry, "run", model, "--inputs", self.path(".feed.npz"), "--outputs", self.path(".got.npz"), "--threads", "1", "--quiet"], self.o.timeout)
            if code:
                return dict(out, error="run: " + coverage.last(text))
            got = np.load(self.path(".got.npz"))
            out["errors"]["ferry"] = max(out["errors"]["ferry"], self.error([got[n] for n in order], want, relative, info))
        out["moved"] = self.moved
        bad = {k: v for k, v in out["errors"].items() if not v <= max(coverage.TOLERANCE, 2 * info["own"])}
        return dict(out, error="differs: " + ", ".join("%s %.2g" % x for x in bad.items())) if bad else out

    def guarded(self, info):
        try:
            return self.ferry(info)
        except Exception as error:
            return {"error": ("%s: %s" % (type(error).__name__, error)).splitlines()[0][:300]}

    def all(self):
        info = self.stage("capture", self.capture)
        if "error" in info:
            return self.name, info, {}
        result = self.stage("ferry", lambda: self.guarded(info))
        if not self.o.keep:                             # hundreds of megabytes each
            for suffix in (".onnx",) + ((".pt",) if "error" not in result else ()):
                if os.path.exists(self.path(suffix)):
                    os.remove(self.path(suffix))
        return self.name, info, result


def write(folder, path):
    rows, failed, refused, moved, torch, good = [], [], [], [], "?", 0
    for name, (kind, how, _, sizes) in MODELS.items():
        file = os.path.join(folder, name.replace(" ", "-"))
        if not os.path.exists(file + ".capture.json"):
            continue
        info = json.load(open(file + ".capture.json"))
        if "error" in info:
            refused.append("- %s: %s" % (name, info["error"].replace("|", "\\|")[:160]))
            continue
        torch, r = info["torch"], json.load(open(file + ".ferry.json")) if os.path.exists(file + ".ferry.json") else {"error": "not run"}
        good += "error" not in r
        if "error" in r:
            failed.append("- %s: %s" % (name, r["error"].replace("|", "\\|")[:330]))
        open_axes = [s for a, s in enumerate(AXES[len(sizes[0])]) if any(x[a] != sizes[0][a] for x in sizes)]
        rows.append("| %s | %s | %s | %s | %s | %s | %s |" % (kind, name, ", ".join(open_axes) or "none", r.get("nodes", "-"), "%.1f" % r["cpu"] if "cpu" in r else "-", "%.0f" % r["peak"] if "peak" in r else "-",
                    "**fails**" if "error" in r else "%.0e%s%s%s%s" % (max(r["errors"].values()), " r" if r["relative"] else "", " t" if r.get("ties") else "", " (own %.0e)" % info["own"] if info["own"] > 5e-5 else "",
                                                                                   " (gate %.0e)" % (2 * info["noise"]) if info.get("noise", 0) > 5e-5 else "")))
        moved += ["%s %d" % (name, r["moved"])] if r.get("moved") else []
    text = ["# Coverage: torchvision as TorchScript", "",
            "Written by `make coverage`; do not edit. torchvision at full width with random seeded weights, traced by `torch.jit.trace` or (*script*) compiled by `torch.jit.script` of torch %s, detectors with" % torch,
            "NMS inside among them; exported by `ferry export --opset 20` with its gates on, checked by `onnx.checker` in full, and run by onnxruntime and by ferry at every size. The error is the larger",
            "difference of either engine from what PyTorch computes in double (detectors: in float); the bar is 1e-4, or twice what PyTorch's own float is off (*own*; *gate*: on the noise that",
            "the gate of export makes up), where deep networks of random weights make more of rounding. *r*: outputs beyond 3 are compared relative to their range. Seconds: CPU time of `ferry export`, verification included; MB: its peak.", "",
            "Detections are a set: each box is compared with PyTorch's of the same label, of a score within 1e-4, at the same place (overlap above 0.999); one without a partner is an error. %s" % (
                "Boxes that stood elsewhere in the list: %s." % ", ".join(moved) if moved else "All stood at the same place in the list."),
            "On noise the scores of random weights tie to the last bit or nearly so, and which box comes first, or is kept, hangs on rounding: in PyTorch's own float as well. *t*: there the gate broke ties as the model",
            "does, each of them only where the numbers that the program itself computes in double leave the choice open, and all outputs agreed then ([rules](../src/verify/README.md)).", "",
            "%d of %d export and agree." % (good, len(rows)), "", "| kind | model | dynamic axes | nodes | s | MB | error |", "|---|---|---|---|---|---|---|", *rows]
    text += ["", "## What fails", "", *failed] if failed else []
    text += ["", "## What PyTorch does not trace or script", "", *refused] if refused else []
    open(path, "w").write("\n".join(text) + "\n")
    return "%s: %d of %d" % (path, good, len(rows))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("ferry")
    p.add_argument("--only", default="")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--redo", action="append", default=[])
    p.add_argument("--keep", action="store_true", help="keep archives and models of those that pass")
    p.add_argument("--through", default="", help="a command in front of those that take long (nice)")
    p.add_argument("--timeout", type=int, default=600)
    p.add_argument("--folder", default=os.path.join(ROOT, "build", "coverage", "traces"))
    p.add_argument("--report", action="store_true", help="only write docs/coverage-traces.md from what there is")
    o = p.parse_args()
    o.ferry, o.through, o.python = os.path.abspath(o.ferry), o.through.split(), os.environ.get("FERRY_TORCH", "python3")
    os.makedirs(o.folder, exist_ok=True)
    if not o.report:
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            for name, info, r in pool.map(lambda n: Job(o, n).all(), [n for n in MODELS if not o.only or n in o.only.split(",")]):
                print("%-42s %s" % (name, "not captured: " + info["error"] if "error" in info else "FAILED " + r["error"] if "error" in r else "%.1e  %d nodes, %.1f s" % (max(r["errors"].values()), r["nodes"], r["wall"])), flush=True)
    print(write(o.folder, os.path.join(ROOT, "docs", "coverage-traces.md")))


if __name__ == "__main__":
    sys.path.insert(0, HERE)
    if sys.argv[1:2] == ["--capture"]:
        capture(*sys.argv[2:4])
    else:
        main()
