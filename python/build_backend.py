# SPDX-License-Identifier: Apache-2.0
"""The wheel, by PEP 517 and nothing beyond Python's library: CMake builds libferry, which goes into the package with the libraries that it
needs.

FERRY_BUILD=DIR takes the build that is there already instead of making one; FERRY_BUNDLE=0 leaves the other libraries out (a wheel for this
machine, tagged linux_ARCH). Called by pip; by hand: python build_backend.py DIR writes the wheel there."""

import base64
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "core") if os.path.isdir(os.path.join(HERE, "core")) else os.path.dirname(HERE)
# What every manylinux system has (PEP 600).
SYSTEM = re.compile(r"^(ld-linux.*|lib(c|m|pthread|dl|rt|gcc_s|stdc\+\+)\.so.*)$")
IN_SDIST = ("CMakeLists.txt", "LICENSE", "src", "include", "apps", "examples", "python/CMakeLists.txt")


def version():
    with open(os.path.join(SOURCE, "CMakeLists.txt"), encoding="utf-8") as f:
        return re.search(r"project\(ferry VERSION ([0-9.]+)", f.read()).group(1)


def project():
    """The few fields of pyproject.toml that the metadata repeats: Python 3.9 has no tomllib."""
    with open(os.path.join(HERE, "pyproject.toml"), encoding="utf-8") as f:
        text = f.read()

    def string(key):
        return re.search(rf'^{key} = "([^"]*)"', text, re.M).group(1)

    def strings(key):
        return re.findall(r'"([^"]*)"', re.search(rf"^{key} = \[(.*?)\]", text, re.M | re.S).group(1))

    extras = re.findall(r"^(\w+) = \[(.*)\]", text[text.index("[project.optional-dependencies]") :], re.M)
    return string, strings, [(name, re.findall(r'"([^"]*)"', items)) for name, items in extras]


def metadata():
    string, strings, extras = project()
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {string('name')}",
        f"Version: {version()}",
        f"Summary: {string('description')}",
        f"License-Expression: {string('license')}",
        "License-File: LICENSE",
        f"Keywords: {','.join(strings('keywords'))}",
        f"Requires-Python: {string('requires-python')}",
    ]
    lines += [f"Classifier: {c}" for c in strings("classifiers")] + [f"Requires-Dist: {d}" for d in strings("dependencies")]
    for name, items in extras:
        lines += [f"Provides-Extra: {name}"] + [f'Requires-Dist: {d}; extra == "{name}"' for d in items]
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as f:
        return "\n".join(lines) + "\nDescription-Content-Type: text/markdown\n\n" + f.read()


def build_library(folder):
    given = os.environ.get("FERRY_BUILD")
    build = given or os.path.join(folder, "build")
    if not given:
        ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
        subprocess.run(["cmake", "-S", SOURCE, "-B", build, "-DFERRY_TESTS=OFF", "-DCMAKE_BUILD_TYPE=Release", *ninja], check=True)
        subprocess.run(["cmake", "--build", build, "--target", "ferry_python", "--parallel", str(os.cpu_count() or 1)], check=True)
    return os.path.join(build, "python", "libferry.so")


def needed(library):
    """Libraries, with their libraries, that the system need not have: (name, path)."""
    found, missing = {}, []
    out = subprocess.run(["ldd", library], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        name, _, rest = line.strip().partition(" => ")
        name = os.path.basename(name.split(" ")[0])
        if SYSTEM.match(name) or name.startswith("linux-"):
            continue
        path = rest.split(" (")[0].strip()
        if path.startswith("/"):
            found[name] = os.path.realpath(path)
        else:
            missing.append(name)
    if missing:
        raise SystemExit(f"{library} needs {', '.join(missing)}, not found")
    return sorted(found.items())


def tag(libraries):
    """manylinux_X_Y: Y is what the newest symbol of glibc asks for that one of the libraries uses."""
    newest = (2, 17)
    for path in libraries:
        out = subprocess.run(["objdump", "-T", path], check=True, capture_output=True, text=True).stdout
        for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", out):
            newest = max(newest, (int(major), int(minor)))
    return f"manylinux_{newest[0]}_{newest[1]}_{platform.machine()}"


def licence_of(path):
    """The copyright file of the Debian package that a library is from, if it is from one."""
    try:
        owner = (
            subprocess.run(["dpkg", "-S", path], capture_output=True, text=True).stdout
            or subprocess.run(["dpkg", "-S", os.path.basename(path)], capture_output=True, text=True).stdout
        )
    except OSError:
        return None
    text = f"/usr/share/doc/{owner.split(':')[0]}/copyright"
    return text if owner and os.path.isfile(text) else None


class Wheel:
    """A zip with its RECORD; the same files give the same bytes."""

    def __init__(self, path, info):
        self.zip, self.info, self.record = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED), info, []

    def add(self, name, data, mode=0o644):
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.external_attr, entry.compress_type = (0o100000 | mode) << 16, zipfile.ZIP_DEFLATED
        self.zip.writestr(entry, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}")

    def file(self, name, path, mode=0o644):
        with open(path, "rb") as f:
            self.add(name, f.read(), mode)

    def close(self):
        name = f"{self.info}/RECORD"
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100644 << 16
        self.zip.writestr(entry, "\n".join(self.record + [f"{name},,"]) + "\n")
        self.zip.close()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "libferry.so")
        shutil.copyfile(build_library(folder), library)
        subprocess.run(["strip", library], check=True)
        bundle = os.environ.get("FERRY_BUNDLE", "1") != "0"
        libraries = needed(library) if bundle else []
        platform_tag = tag([library] + [path for _, path in libraries]) if bundle else f"linux_{platform.machine()}"
        base, python_tag = f"ferry_onnx-{version()}", f"py3-none-{platform_tag}"
        wheel = Wheel(os.path.join(wheel_directory, f"{base}-{python_tag}.whl"), f"{base}.dist-info")
        for name in sorted(os.listdir(os.path.join(HERE, "ferry"))):
            if name.endswith((".py", ".typed")):
                wheel.file(f"ferry/{name}", os.path.join(HERE, "ferry", name))
        wheel.file("ferry/libferry.so", library, 0o755)
        licences = {}
        for name, path in libraries:
            wheel.file(f"ferry/libs/{name}", path, 0o755)
            licences[name] = licence_of(path)
        wheel.add(f"{wheel.info}/METADATA", metadata().encode())
        wheel.add(f"{wheel.info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: ferry\nRoot-Is-Purelib: false\nTag: {python_tag}\n".encode())
        wheel.file(f"{wheel.info}/licenses/LICENSE", os.path.join(SOURCE, "LICENSE"))
        for name, path in sorted(licences.items()):
            if path:
                wheel.file(f"{wheel.info}/licenses/{name}.txt", path)
        wheel.close()
        return os.path.basename(wheel.zip.filename)


def build_sdist(sdist_directory, config_settings=None):
    """This folder, and below core/ what CMake needs of the repository."""
    base = f"ferry_onnx-{version()}"
    path = os.path.join(sdist_directory, f"{base}.tar.gz")

    def plain(entry):
        if "__pycache__" in entry.name:
            return None
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
        return entry

    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name in ("pyproject.toml", "build_backend.py", "README.md", "ferry"):
            tar.add(os.path.join(HERE, name), f"{base}/{name}", filter=plain)
        for name in IN_SDIST:
            tar.add(os.path.join(SOURCE, name), f"{base}/core/{name}", filter=plain)
        data = metadata().encode()
        entry = tarfile.TarInfo(f"{base}/PKG-INFO")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return os.path.basename(path)


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    print(os.path.join(sys.argv[1], build_wheel(sys.argv[1])))
