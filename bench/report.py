"""report.py - docs/performance.md and docs/performance.svg from the results of bench.py. `python bench/report.py RESULTS.json FOLDER` makes them anew."""
import json
import os
import statistics
import sys

COLOURS = {"ferry": "#0b6e99", "ferry-exact": "#7fb8cf", "onnxruntime": "#e08a1e", "openvino": "#7a5fb5", "mnn": "#5c9e4a", "ncnn": "#b54848"}


def ms(t):
    t *= 1e3
    return f"{t:.0f}" if t >= 100 else f"{t:.1f}" if t >= 10 else f"{t:.2f}"


def others(row):
    return {e: r["median"] for e, r in row["engines"].items() if not e.startswith("ferry") and "median" in r}


def best(row):
    o = others(row)
    name = min(o, key=o.get) if o else None
    return name, o.get(name)


def name_of(row):
    return row["model"] + (" int8" if row["int8"] else "")


def times(row, engines):
    """The cells of one row: each engine's time, then the best other's as a multiple of ferry's."""
    cells = [ms(r["median"]) if "median" in r else "-" for r in (row["engines"].get(e, {}) for e in engines)]
    who, t = best(row)
    mine = row["engines"].get("ferry", {}).get("median")
    return cells + [f"{t / mine:.2f} ({who})" if who and mine else "-"]


def lines_of(heads, rows):
    return ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)] + ["| " + " | ".join(r) + " |" for r in rows]


def table(rows, engines):
    return lines_of(["model"] + engines + ["best other / ferry"], [[name_of(r)] + times(r, engines) for r in rows])


AXES = {"b": ("batch", 1), "t": ("tokens", 128)}      # of resnet50.b8, minilm.t512: the axis, and the model's own size


def size_of(row):
    """("minilm", "t", 512) of minilm.t512; (name, "", 0) of a model at its own size."""
    base, _, size = row["model"].partition(".")
    return base, size[:1], int(size[1:] or 0)


def by_size(rows, engines):
    """Times by batch and by sequence length, and what an item costs (an image, a sequence, a token) beside what it costs at the model's own size."""
    own = {r["model"]: r for r in rows if not r["int8"]}
    out = []
    for base, axis in sorted({size_of(r)[:2] for r in rows if size_of(r)[1] and size_of(r)[0] in own}):
        name, at = AXES[axis]
        group = [(at, own[base])] + [(size_of(r)[2], r) for r in rows if size_of(r)[:2] == (base, axis)]
        for size, row in sorted(group, key=lambda g: g[0]):
            pairs = [(row["engines"].get("ferry", {}).get("median"), own[base]["engines"].get("ferry", {}).get("median")), (best(row)[1], best(own[base])[1])]
            out.append([f"{base}, {name} {size}"] + times(row, engines) + [f"{here / size / (there / at):.2f}" if here and there else "-" for here, there in pairs])
    return lines_of(["model, size"] + engines + ["best other / ferry", "ferry, per item", "best other, per item"], out) if out else []


def errors(rows, engines):
    return lines_of(["model"] + engines, [[name_of(r)] + [f"{r['engines'][e]['error']:.1e}" if r["engines"].get(e, {}).get("error") is not None else "-" for e in engines] for r in rows])


def verdicts(rows):
    """A row is lost (won) if the other is faster (slower) by more than the noise of both and 2 %: the rule of `ferry bench --against`."""
    won, lost, same = [], [], []
    for row in rows:
        who, t = best(row)
        mine = row["engines"].get("ferry", {})
        if not who or "median" not in mine:
            continue
        threshold = max(0.02, mine["noise"] + row["engines"][who]["noise"])
        change = mine["median"] / t - 1
        where = f"{name_of(row)}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        (lost if change > threshold else won if change < -threshold else same).append((where, who, mine["median"] / t))
    return won, lost, same


def chart(rows, engines):
    """Bars: time relative to ferry, one group for each model, one thread."""
    bar, gap, left, width = 11, 14, 150, 760
    shown = [r for r in rows if "median" in r["engines"].get("ferry", {})]
    top = min(4.0, max([r["engines"][e]["median"] / r["engines"]["ferry"]["median"] for r in shown for e in engines if "median" in r["engines"].get(e, {})] + [1.5]))
    scale = (width - left - 60) / top
    out, y = [], 46
    x = left
    for e in engines:
        out.append(f'<rect x="{x}" y="12" width="10" height="10" fill="{COLOURS[e]}"/><text x="{x + 14}" y="21">{e}</text>')
        x += 30 + 7 * len(e)
    for r in shown:
        group = [e for e in engines if "median" in r["engines"].get(e, {})]
        out.append(f'<text x="{left - 8}" y="{y + bar * len(group) / 2 + 4:.0f}" text-anchor="end" font-weight="600">{name_of(r)}</text>')
        for e in group:
            ratio = r["engines"][e]["median"] / r["engines"]["ferry"]["median"]
            w = min(ratio, top) * scale
            out.append(f'<rect x="{left}" y="{y}" width="{w:.1f}" height="{bar - 2}" fill="{COLOURS[e]}"><title>{e}: {ms(r["engines"][e]["median"])} ms</title></rect>'
                       f'<text x="{left + w + 4:.0f}" y="{y + bar - 3}" font-size="9">{ms(r["engines"][e]["median"])} ms{"" if ratio <= top else f" ({ratio:.1f} x)"}</text>')
            y += bar
        y += gap
    line = left + scale
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 20}" viewBox="0 0 {width} {y + 20}" font-family="system-ui,sans-serif" font-size="12">\n'
            f'<rect width="{width}" height="{y + 20}" fill="#ffffff"/>\n' + "\n".join(out) +
            f'\n<line x1="{line:.0f}" y1="34" x2="{line:.0f}" y2="{y - gap}" stroke="#888" stroke-dasharray="3 3"/>\n'
            f'<text x="{left}" y="{y + 8}" fill="#555">time of a run relative to ferry, one thread; shorter is faster</text>\n</svg>\n')


def markdown(d, engines):
    m = d["machine"]
    out = ["# Performance", "", "Written by `make bench` (`bench/bench.py`); do not edit. Times of one run in milliseconds, medians of "
           f"{d['rounds']} alternating rounds of {d['seconds']:g} s for each engine in the same call, each in a process of its own, pinned to as many cores as it has threads.", "",
           f"Machine: {m['cpu']}, {m['cores']} core{'s' if m['cores'] > 1 else ''} allowed, {m['memory_gb']:.0f} GB, Linux {m['kernel']}; load average {m['load']:.2f} before the run"
           + (" **(not quiet: do not rely on these numbers)**" if m["load"] > 0.5 else "") + f". Instruction set: {m['isa']}. ferry {m['commit']}.", "",
           "Weights are random and seeded (nothing is downloaded); all engines read the same `.onnx`, exported by `ferry export`; int8 models are made by "
           "`onnxruntime.quantization.quantize_static` (QDQ, per channel, activations u8, weights i8). `ferry-exact` is `--exact`: no Winograd.", ""]
    for threads in sorted({r["threads"] for r in d["rows"]}):
        rows = [r for r in d["rows"] if r["threads"] == threads]
        many = f"{threads} thread{'s' if threads > 1 else ''}"
        out += [f"## {many}", ""] + table([r for r in rows if not size_of(r)[1]], engines) + [""]
        sizes = by_size(rows, engines)
        if sizes:
            out += [f"### Batch and sequence length, {many}", "", "Per item: an image, a sequence or a token, as a share of what it costs at batch 1 and 128 tokens. Each size is a file of its own, "
                    "so that every engine may compile for it; one file that takes every size is measured in [dynamic shapes](dynamic-shapes.md).", ""] + sizes + [""]
    out += ["![chart](performance.svg)", "", "## What is lost", ""]
    won, lost, same = verdicts(d["rows"])
    out += [f"Slower than the best other by more than the noise of both runs and 2 %: {len(lost)} of {len(won) + len(lost) + len(same)}; faster: {len(won)}; the same: {len(same)}.", ""]
    out += [f"- {where}: {ratio:.2f} times the time of {who}" for where, who, ratio in sorted(lost, key=lambda v: -v[2])] or ["- nothing in this run"]
    out += ["", "## Error", "", "Largest absolute difference over all outputs, as a share of the largest absolute value: against PyTorch in double precision; int8 against ferry's reference "
            "kernels, which compute in double between the roundings of the graph (activations may fall to either side of a rounding).", ""]
    out += errors([r for r in d["rows"] if r["threads"] == min(x["threads"] for x in d["rows"])], engines)
    out += ["", "## Settings", "", "As given for the smallest number of threads; the others differ in that number alone.", ""]
    for e in engines:
        said = [r["engines"][e] for r in d["rows"] if "about" in r["engines"].get(e, {})]
        if said:
            out.append(f"- **{e}** ({said[0]['about']}): {said[0]['settings']}")
    failed = [f"- {e} on {name_of(r)}, {r['threads']} thread{'s' if r['threads'] > 1 else ''}: {r['engines'][e]['failed']}" for r in d["rows"] for e in engines if "failed" in r["engines"].get(e, {})]
    failed += [f"- {e}: {why}" for e, why in d["missing"].items()]
    noise = [r["engines"][e]["noise"] for r in d["rows"] for e in r["engines"] if "noise" in r["engines"][e]]
    out += ["", f"Noise (half the distance between the quartiles, as a share of the median): {100 * statistics.median(noise):.1f} % in the median, {100 * max(noise):.1f} % at most." if noise else "", ""]
    if failed:
        out += ["Not run:", ""] + failed + [""]
    return "\n".join(out)


def write(d, folder):
    engines = [e for e in COLOURS if any(e in r["engines"] for r in d["rows"])]
    os.makedirs(folder, exist_ok=True)
    one = [r for r in d["rows"] if r["threads"] == min(x["threads"] for x in d["rows"]) and not size_of(r)[1]]
    for name, text in (("performance.md", markdown(d, engines)), ("performance.svg", chart(one, engines))):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        write(json.load(f), sys.argv[2])
