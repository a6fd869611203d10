#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws docs/demo.svg: what `make demo` prints on a terminal, and the model's answers to ten test pictures.

    python3 tools/picture.py build/ferry docs/demo.svg

Nothing but Python's own library is needed. The demo runs on a pseudo-terminal, so the colours are the program's own."""
import base64
import os
import pty
import re
import subprocess
import sys
import tempfile
from html import escape

COLUMNS, CHAR, LINE, PAD = 116, 7.8, 17, 18
COLOURS = {"31": "#f47067", "32": "#57ab5a", "33": "#c69026", "34": "#539bf5", "36": "#39c5cf", "2": "#768390"}
PLAIN, BOLD, BACK = "#adbac7", "#e6edf3", "#1c2128"


def on_terminal(command):
    """What `command` writes to a terminal, as text with escape sequences."""
    out = b""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"] = str(COLUMNS)
        os.environ.pop("NO_COLOR", None)
        os.execvp(command[0], command)
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit("the demo failed:\n" + out.decode())
    return out.decode().replace("\r\n", "\n")


def last_state(line):
    """What is left of a line after carriage returns and erasures (progress)."""
    line = re.split(r"\x1b\[K", line)[-1] if "\x1b[K" in line else line
    return line.split("\r")[-1]


def spans(line):
    """(style, text) pieces of a line with SGR sequences."""
    style, out = {"fill": PLAIN, "bold": False}, []
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        m = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
        if not m:
            if piece:
                out.append((dict(style), piece))
            continue
        for code in (m.group(1) or "0").split(";"):
            if code in ("0", ""):
                style = {"fill": PLAIN, "bold": False}
            elif code == "1":
                style = {"fill": BOLD, "bold": True}
            elif code in COLOURS:
                style["fill"] = COLOURS[code]
    return out


def draw_line(line, y):
    x, out = 0, ""
    for style, text in spans(line):
        if text.strip():
            lead = len(text) - len(text.lstrip(" "))
            body = escape(text.strip(" ")).replace(" ", "\u00a0")
            bold = ' font-weight="600"' if style["bold"] else ""
            out += f'<text x="{PAD + (x + lead) * CHAR:.1f}" y="{y}" fill="{style["fill"]}"{bold} textLength="{len(text.strip(" ")) * CHAR:.1f}">{body}</text>\n'
        x += len(text)
    return out


def answers(ferry, folder):
    """(picture, class, the model's answer, its share) of one picture of each class."""
    names = open(f"{folder}/labels.txt").read().split()
    out = []
    for name in names:
        path = f"{folder}/{name.lower()}.png"
        text = subprocess.run([ferry, "run", f"{folder}/fashion.onnx", "--image", path, "--top", "1", "--labels", f"{folder}/labels.txt"],
                              capture_output=True, text=True, check=True).stdout
        _, answer, _, share = text.splitlines()[-1].split()
        out.append((base64.b64encode(open(path, "rb").read()).decode(), name, answer, share))
    return out


def main():
    ferry, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as folder:
        text = on_terminal([f"{here}/examples/fashion/demo.sh", ferry, folder])
        pictures = answers(ferry, folder)
    lines = [last_state(line) for line in text.rstrip("\n").split("\n")]
    start = next(i for i, line in enumerate(lines) if "1. Export" in line)
    lines = ["\x1b[1m$ make demo\x1b[0m", ""] + lines[start:-2]
    side, gap = 84, 24
    width = int(2 * PAD + COLUMNS * CHAR)
    top = 3 * PAD + len(lines) * LINE + 24
    height = top + side + 58
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
           'aria-label="The output of make demo, and ten test pictures with the answers of the exported model">',
           f'<rect width="{width}" height="{height}" rx="8" fill="{BACK}"/>']
    out += [f'<circle cx="{PAD + 4 + 18 * i}" cy="{PAD}" r="5.5" fill="{c}"/>' for i, c in enumerate(("#f47067", "#c69026", "#57ab5a"))]
    out.append('<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12.5" xml:space="preserve">')
    out += [draw_line(line, 2 * PAD + 14 + i * LINE) for i, line in enumerate(lines)]
    out.append('</g>')
    step = (width - 2 * PAD - side) / (len(pictures) - 1)
    out.append('<g font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" text-anchor="middle">')
    for i, (png, name, answer, share) in enumerate(pictures):
        x = PAD + i * step
        good = answer == name
        out.append(f'<image x="{x:.1f}" y="{top}" width="{side}" height="{side}" style="image-rendering:pixelated" href="data:image/png;base64,{png}"/>')
        fill = COLOURS["32"] if good else COLOURS["31"]
        out.append(f'<text x="{x + side / 2:.1f}" y="{top + side + 18}" fill="{fill}">{escape(answer)}{"" if good else " (" + escape(name) + ")"}</text>')
        out.append(f'<text x="{x + side / 2:.1f}" y="{top + side + 34}" fill="{COLOURS["2"]}">{share}</text>')
    out.append('</g>\n</svg>\n')
    with open(target, "w", encoding="utf-8") as f:
        f.write("\n".join(out))
    print(f"{target}: {len(lines)} lines, {len(pictures)} pictures, {os.path.getsize(target)} bytes")


main()
