#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# wheel.sh BUILD PYTHON FOLDER - the wheel made from what was built, twice the same bytes, installed by pip into a fresh virtual environment in FOLDER. The
# environment sees NumPy, onnx and the like of PYTHON's, so that nothing is fetched. Without arguments after FOLDER that is all; else they run there:
#   wheel.sh BUILD PYTHON FOLDER SCRIPT ARGUMENTS
set -euo pipefail
build=$(realpath "$1") python=$2 folder=$3
shift 3
source=$(cd "$(dirname "$0")/../.." && pwd)
if [ $# -gt 0 ]; then
    cd "$folder"
    exec "$folder/venv/bin/python" -W ignore::ResourceWarning "$@"
fi
rm -rf "$folder"
mkdir -p "$folder/again"
cd "$folder"
FERRY_BUILD=$build "$python" -m pip wheel -q --no-deps --no-index -w . "$source/python"
FERRY_BUILD=$build "$python" "$source/python/build_backend.py" again >/dev/null
wheel=$(echo ferry_onnx-*.whl)
cmp "$wheel" "again/$wheel"
echo "$wheel: $(wc -c <"$wheel") bytes"
"$python" - "$wheel" "$build" "$source" <<'END'
import re, sys, zipfile
wheel, build, source = sys.argv[1:]
names = zipfile.ZipFile(wheel).namelist()
bad = [n for n in names if not re.match(r"ferry(_onnx-[\d.]+\.dist-info)?/", n) or "__pycache__" in n]
assert not bad, bad
text = b"".join(zipfile.ZipFile(wheel).read(n) for n in names)
for path in (build, source):
    assert path.encode() not in text, f"the wheel names {path}"
END
"$python" -m venv --without-pip venv
there=$("$python" -c 'import numpy, os; print(os.path.dirname(os.path.dirname(numpy.__file__)))')
echo "$there" >"$(venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/oracles.pth"
"$python" -m pip --python venv/bin/python install -q --no-index "$wheel"
venv/bin/python - <<'END'
import ferry, importlib.metadata, os, sys
assert ferry.__file__.startswith(os.path.join(os.getcwd(), "venv")), ferry.__file__
assert importlib.metadata.version("ferry-onnx") == ferry.__version__
assert "torch" not in sys.modules and "onnx" not in sys.modules
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps if ".so" in line}
print("ferry", ferry.__version__, "with", ", ".join(sorted(os.path.basename(x) for x in loaded if "/ferry/" in x)))
END
# The source distribution has what the wheel is built from.
(cd "$source/python" && "$python" -c 'import build_backend, sys; print(build_backend.build_sdist(sys.argv[1]))' "$folder") >sdist.txt
tar -xzf "$(cat sdist.txt)"
cd "$(basename "$(cat sdist.txt)" .tar.gz)"
cmake -S core -B configured -DFERRY_TESTS=OFF >configure.log || { cat configure.log; exit 1; }
