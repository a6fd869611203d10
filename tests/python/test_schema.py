# SPDX-License-Identifier: Apache-2.0
"""The operator table against onnx's own schemas, newest versions of every domain that onnx has.

    python tests/python/test_schema.py build/ferry

For each operator: is it there, do the numbers of inputs and outputs agree, are its attributes the same (name, type, required, default),
and is every type that the schema allows for an input or output allowed by the table? More is no fault: what onnx later adds is not judged here.
"""
import json
import subprocess
import sys

from onnx import defs, helper

SHORT = {"float": "f32", "double": "f64", "float16": "f16", "bfloat16": "bf16", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "int8": "i8", "int16": "i16",
         "int32": "i32", "int64": "i64", "bool": "bool", "string": "str", "complex64": "c64", "complex128": "c128", "float8e4m3fn": "f8e4m3", "float8e4m3fnuz": "f8e4m3uz",
         "float8e5m2": "f8e5m2", "float8e5m2fnuz": "f8e5m2uz", "uint4": "u4", "int4": "i4", "float4e2m1": "f4e2m1", "float8e8m0": "f8e8m0", "uint2": "u2", "int2": "i2",
         "float6e2m3": "f6e2m3", "float6e3m2": "f6e3m2"}
SKIPPED = {("", "Scatter"), ("", "Upsample")}       # deprecated: raised to ScatterElements and Resize when a model is read
ALL = set(SHORT.values())


def table(types):
    """"T=f32,f64;I=i64|T,I,...|T" -> allowed dtypes of input i, of output i."""
    if types is None:
        return lambda i: ALL, lambda i: ALL
    head, ins, outs = (types.split("|") + [""])[:3]
    variables = {}
    for part in head.split(";"):
        if part:
            name, values = part.split("=")
            variables[name] = ALL if values == "*" else set(values.split(","))

    def of(entries):
        words = [w for w in entries.split(",") if w]

        def allowed(i):
            if i >= len(words) and (not words or words[-1] != "..."):
                return ALL
            k = min(i, len(words) - 1)
            word = words[k]
            while word == "...":
                k -= 1
                word = words[k]
            return ALL if word == "*" else variables.get(word, {word})
        return allowed
    return of(ins), of(outs)


def dtypes(schema, formal):
    constraint = next((c for c in schema.type_constraints if c.type_param_str == formal.type_str), None)
    names = constraint.allowed_type_strs if constraint else [formal.type_str]
    return {SHORT[n[7:-1]] for n in names if n.startswith("tensor(") and n[7:-1] in SHORT}


def value(attribute):
    return None if not attribute.default_value.name else helper.get_attribute_value(attribute.default_value)


def same_default(want, have):
    if want is None or isinstance(want, list):
        return True                                  # the table says in words what happens without
    if isinstance(want, bytes):
        return (have or "") == want.decode()
    return have is not None and abs(float(have) - float(want)) <= 1e-6 * max(1, abs(want))


def main():
    ops = json.loads(subprocess.run([sys.argv[1], "ops", "--onnx", "--json"], capture_output=True, text=True, check=True).stdout)["onnx"]
    ours = {(o["domain"], o["name"]): o for o in ops}
    newest = {}
    for s in defs.get_all_schemas():
        newest[(s.domain, s.name)] = s
    faults, checked = [], 0
    for key, s in sorted(newest.items()):
        if key in SKIPPED:
            continue
        name = (key[0] + "." if key[0] else "") + key[1]
        o = ours.get(key)
        if not o:
            faults.append(f"{name}: is not there")
            continue
        checked += 1
        if o["min_inputs"] > s.min_input or (o["max_inputs"] < s.max_input and o["max_inputs"] != -1):
            faults.append(f"{name}: takes {o['min_inputs']}..{o['max_inputs']} inputs, the schema {s.min_input}..{s.max_input}")
        if o["min_outputs"] > s.min_output or (o["max_outputs"] < s.max_output and o["max_outputs"] != -1):
            faults.append(f"{name}: has {o['min_outputs']}..{o['max_outputs']} outputs, the schema {s.min_output}..{s.max_output}")
        have = {a["name"]: a for a in o["attributes"]}
        for a in s.attributes.values():
            kind = str(a.type).split(".")[-1].lower()
            if a.name not in have:
                faults.append(f"{name}: attribute {a.name} is not there")
            elif have[a.name]["type"] != kind:
                faults.append(f"{name}: attribute {a.name} is {have[a.name]['type']}, the schema says {kind}")
            elif have[a.name]["required"] != a.required:
                faults.append(f"{name}: attribute {a.name} is {'' if a.required else 'not '}required by the schema")
            elif not same_default(value(a), have[a.name]["default"]):
                faults.append(f"{name}: attribute {a.name} is {have[a.name]['default']} by default, the schema says {value(a)}")
        faults += [f"{name}: the schema has no attribute {n}" for n in have if n not in s.attributes]
        ins, outs = table(o["types"])
        for what, formals, allowed in (("input", s.inputs, ins), ("output", s.outputs, outs)):
            for i, f in enumerate(formals):
                lost = dtypes(s, f) - allowed(i)
                if lost:
                    faults.append(f"{name}: {what} {i} ({f.name}) is not allowed to be {', '.join(sorted(lost))}")
    print("\n".join(faults))
    print(f"{checked} operators of {len(newest)} compared, {len(faults)} differences")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
