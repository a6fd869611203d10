# SPDX-License-Identifier: Apache-2.0
"""report.py - docs/coverage.md and coverage.json from the results of coverage.py."""
import json
import math
import os

TITLE = {"new": "newest", "old": "older"}


def load(folder, tag, name, key):
    path = os.path.join(folder, tag, "%s.%s.json" % (name, key))
    return json.load(open(path)) if os.path.exists(path) else {}


def passed(x):
    return "errors" in x and "error" not in x


def cell(f, v, capture):
    """The largest error of both engines over all sizes; what torch closed."""
    x = f.get(v)
    if not x:
        return "-"
    if not passed(x):
        return "**fails**"
    return "%.0e%s" % (max(x["errors"].values()), " r" if x.get("relative") else "") + (" d" if capture.get("double") else "") + (" (closed)" if x.get("frozen") and v == "dynamic" else "")


def few(text, most=84):
    """The beginning of an error, whole words, fit for a cell of a table."""
    text = text.replace("|", "\\|").replace("<", "").replace(">", "")
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def geometric(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else float("nan")


def write(folder, names, path):
    rows, counts, speed, memory, more, less, failed, refused = [], {}, [], [], [], 0, [], []
    versions, compared, closed = {}, 0, []
    for name in names:
        new = {k: load(folder, "new", name, k) for k in ("capture", "ferry", "rival", "judged")}
        old = {k: load(folder, "old", name, k) for k in ("capture", "ferry")}
        for tag, r in (("new", new), ("old", old)):
            versions.setdefault(tag, r["capture"].get("torch"))
            versions[tag] = versions[tag] or r["capture"].get("torch")
            for v in ("static", "dynamic"):
                made = r["capture"].get("variants", {}).get(v)
                c = counts.setdefault((tag, v), [0, 0])
                if made and "error" not in made:
                    c[0] += 1
                    c[1] += passed(r["ferry"].get(v, {}))
                    if r["ferry"] and not passed(r["ferry"].get(v, {})):
                        failed.append((tag, name, v, r["ferry"].get(v, {}).get("error", "not run")))
                elif made:
                    refused.append((tag, name, v, made["error"]))
            if r["capture"].get("error"):
                refused.append((tag, name, "both", r["capture"]["error"]))
        if not new["capture"].get("variants"):
            continue
        rival, mine = new["rival"], new["ferry"].get(new["rival"].get("variant", "dynamic"), {})
        operators = max((len(x.get("operators", [])) for x in new["capture"]["variants"].values()), default=0)
        theirs = rival.get("error") and "fails (%s)" % few(rival["error"]) or rival.get("nodes", "")
        least = min([rival[k] for k in ("nodes", "slim") if k in rival], default=None)
        wrong = [new["capture"]["sizes"][k] for k in new["judged"].get("failing", []) if k not in mine.get("frozen", [])]
        if wrong:
            closed.append("%s at %s" % (name, " and ".join(" ".join("%s=%s" % x for x in s.items()) for s in wrong)))
        if least is not None and "small" in mine and not wrong:
            compared += 1
            if mine["small"] > least:
                more.append("%s %d against %d" % (name, mine["small"], least))
            less += mine["small"] < least
        if "nodes" in rival and "cpu" in mine and passed(mine):
            speed.append(rival["cpu"] / max(mine["cpu"], 1e-3))
            memory.append(rival["peak"] / mine["peak"])
        rows.append([new["capture"]["kind"], name, str(operators), "%s / %s" % (mine.get("nodes", "-"), mine.get("small", "-")), "%s / %s%s" % (theirs, rival.get("slim", "-"), " w" if wrong else "") if rival else "-",
                     "%.2f" % mine["cpu"] if "cpu" in mine else "-", "%.1f" % rival["cpu"] if "cpu" in rival else "-", cell(new["ferry"], "static", new["capture"]), cell(new["ferry"], "dynamic", new["capture"]), cell(old["ferry"], "static", old["capture"]), cell(old["ferry"], "dynamic", old["capture"])])
    text = ["# Coverage: architectures from PyTorch to ONNX", "",
            "Written by `make coverage`; do not edit. Thin variants (few layers, small widths) with random seeded weights, batch norms warmed up; nothing is downloaded. Each is captured by `torch.export`",
            "static and with dynamic axes, exported by `ferry export --opset 20` with its gates on, checked by `onnx.checker` in full, made smaller by `ferry optimize`, and run by onnxruntime and by",
            "ferry at up to three sizes of every axis. The error is the largest difference of either engine, before and after `optimize`, from what PyTorch computed; the bar is 1e-4. *r*: outputs beyond 3 are compared",
            "relative to their range. *d*: PyTorch ran in double. PT2E int8: on inputs at which no number that is quantised stands in the middle of two steps, by onnxruntime node by node. *closed*: `torch.export` fixed an axis that was asked for, those sizes are left out. `-`: not captured, or not applicable.", "",
            "Nodes: as exported / after `ferry optimize`, beside `torch.onnx.export` of the newest torch from the same `.pt2` (dynamo, its own optimiser on) / onnxslim after it; *w*: that file does not run, or computes something else, at one of the sizes, and is not compared; *fails*: it writes none, and what its first error is. Seconds: CPU time of whole",
            "processes, `ferry export` with verification beside `torch.export.load` and `torch.onnx.export`.", ""]
    for tag in ("new", "old"):
        if versions.get(tag):
            text.append("- torch %s: %s." % (versions[tag], "; ".join("%d of %d %s programs export and agree" % (counts[tag, v][1], counts[tag, v][0], v) for v in ("static", "dynamic"))))
    text.append("- Speed: %.0f times less CPU time than `torch.onnx.export` in the geometric mean over %d models, %.0f times less memory at the peak." % (geometric(speed), len(speed), geometric(memory)))
    text.append("- Nodes after `ferry optimize` against the lesser of the official exporter's and onnxslim's: fewer for %d of %d models, more for %d%s." % (less, compared, len(more), " (%s)" % "; ".join(more) if more else ""))
    if closed:
        text.append("- The official exporter's file does not run, or is off by more than 1e-2 of the range, for %d model%s: %s." % (len(closed), "" if len(closed) == 1 else "s", "; ".join(closed)))
    text += ["", "| kind | model | operators | nodes | theirs | s | theirs | static | dynamic | older torch: static | dynamic |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    text += ["| " + " | ".join(r) + " |" for r in rows]
    if failed:
        text += ["", "## What fails", ""] + ["- %s, torch %s, %s: %s" % (n, versions[t], v, e.replace("|", "\\|")[:200]) for t, n, v, e in failed]
    if refused:
        text += ["", "## What `torch.export` does not capture", "", "Not a matter of ferry; such models come as TorchScript traces.", ""]
        text += ["- %s, torch %s, %s: %s" % (n, versions[t] or t, v, e.replace("|", "\\|")[:160]) for t, n, v, e in refused]
    open(path, "w").write("\n".join(text) + "\n")
    summary = {"%s %s" % k: v for k, v in counts.items()}
    json.dump({"counts": summary, "speed": geometric(speed), "models_timed": len(speed), "memory": geometric(memory), "more_nodes": more, "failed": failed, "refused": refused},
              open(os.path.join(folder, "coverage.json"), "w"), indent=1)
    return "%s: %s; %.0f times faster over %d models; %d of %d with more nodes" % (path, summary, geometric(speed), len(speed), len(more), compared)
