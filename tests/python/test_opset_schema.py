"""Every version of every operator of ai.onnx against what src/opset knows:

    python tests/python/test_opset_schema.py SOURCE_FOLDER

Walks onnx.defs.get_all_schemas_with_history(). What changed from one version of an operator to the next must be known to opset.def (an adapter in
the direction that needs one: up for everything, down for what came after opset 13) or be listed in opset_schema.txt with a reason; types.def must be
what tools/gen_opset_types.py writes. A line of the list that is not needed is an error. Prints what is missing; exit code 1 if anything is. Needs onnx.
"""
import os
import re
import subprocess
import sys

import onnx
from onnx import defs

OLDEST_WRITTEN = 13


def read_steps(path):
    """(operator, version) -> set of "up", "down"; and the attributes that GONE and ADDED name."""
    steps, gone, added = {}, set(), set()
    for line in open(path):
        m = re.match(r"STEP\((\w+), (\d+), (\w+), (\w+)\)", line)
        if m:
            steps.setdefault((m[1], int(m[2])), set()).update(w for w, f in (("up", m[3]), ("down", m[4])) if f != "NULL")
        m = re.match(r"(GONE|ADDED)\((\w+), (\d+), \"(\w+)\"", line)
        if m:
            (gone if m[1] == "GONE" else added).add((m[2], int(m[3]), m[4]))
    return steps, gone, added


def default(a):
    return onnx.helper.get_attribute_value(a.default_value) if a.default_value.name else None


def changes(old, new):
    """What changed, as (direction that needs an adapter, words)."""
    for name in sorted(set(old.attributes) | set(new.attributes)):
        if name not in old.attributes:
            yield "down", "attribute " + name
        elif name not in new.attributes:
            yield "up", "attribute " + name
        else:
            a, b = old.attributes[name], new.attributes[name]
            if a.type != b.type:
                yield "up", "type of attribute " + name
            elif default(a) != default(b) or (b.required and not a.required):
                yield "up", "default of attribute " + name
                yield "down", "default of attribute " + name
    if new.max_input > old.max_input or new.min_input < old.min_input:
        yield "down", "inputs"
    if new.max_input < old.max_input or new.min_input > old.min_input:
        yield "up", "inputs"
    if new.max_output > old.max_output:
        yield "down", "outputs"
    if new.max_output < old.max_output:
        yield "up", "outputs"
    if new.deprecated and not old.deprecated:
        yield "up", "deprecated"


def main():
    root = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    steps, gone, added = read_steps(os.path.join(root, "src/opset/opset.def"))
    excused = {}
    for line in open(os.path.join(here, "opset_schema.txt")):
        if line.strip() and not line.startswith("#"):
            key, reason = line.split(": ", 1)
            excused[key] = reason.strip()
    history = {}
    for s in defs.get_all_schemas_with_history():
        if s.domain == "":
            history.setdefault(s.name, []).append(s)
    missing, used, walked = [], set(), 0

    def need(name, version, direction, what):
        if direction == "down" and version <= OLDEST_WRITTEN:
            return
        known = direction in steps.get((name, version), ())
        if what.startswith("attribute "):
            known = known or (name, version, what[10:]) in (gone if direction == "up" else added)
        key = "%s %d %s" % (name, version, what)
        if not known and key in excused:
            used.add(key)
        elif not known:
            missing.append("%s (%s)" % (key, direction))

    for name in sorted(history):
        versions = sorted(history[name], key=lambda s: s.since_version)
        need(name, versions[0].since_version, "down", "new")
        for old, new in zip(versions, versions[1:]):
            walked += 1
            for direction, what in changes(old, new):
                need(name, new.since_version, direction, what)
    table = subprocess.run([sys.executable, os.path.join(root, "tools/gen_opset_types.py")], capture_output=True, text=True, check=True).stdout
    if table != open(os.path.join(root, "src/opset/types.def")).read():
        missing.append("types.def is not what tools/gen_opset_types.py writes")
    missing += ["not needed: " + key for key in excused if key not in used]
    print("\n".join(missing))
    print("%d operators, %d steps between versions, %d missing, %d excused" % (len(history), walked, len(missing), len(used)))
    return 1 if missing or walked < 300 else 0


if __name__ == "__main__":
    sys.exit(main())
