"""Writes src/ops/case.def: Unicode's simple case mapping and white space, from the Unicode Character Database.

    python tools/gen_case.py UnicodeData.txt > src/ops/case.def        (Debian: unicode-data has it)

A run holds every code point first, first + step, ... last; each maps to itself + delta.
"""
import sys


def runs(pairs):
    out = []
    for c, to in pairs:
        delta = to - c
        if out:
            first, last, step, d = out[-1]
            if d == delta and (c - last == step or (first == last and c - last == 2)):
                out[-1] = (first, c, c - last, d)
                continue
        out.append((c, c, 1, delta))
    return out


rows = [line.rstrip("\n").split(";") for line in open(sys.argv[1])]
print("/* SPDX-License-Identifier: Apache-2.0")
print(" * case.def - made by tools/gen_case.py from the Unicode Character Database 15.0 (unicode.org/license.txt).")
print(" * UPPER(first, last, step, delta) and LOWER(...): runs of code points with a simple case mapping, ascending. */")
print("/* clang-format off */")
for name, column in (("UPPER", 12), ("LOWER", 13)):
    line = ""
    for run in runs([(int(r[0], 16), int(r[column], 16)) for r in rows if r[column]]):
        item = "%s(0x%x, 0x%x, %d, %d)" % ((name,) + run)
        if len(line) + len(item) > 138:
            print(line)
            line = ""
        line += (" " if line else "") + item
    print(line)
print("/* clang-format on */")
