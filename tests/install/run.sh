#!/usr/bin/env bash
# run.sh BUILD - installs what was built into a temporary prefix and uses it as a stranger does: pkg-config, find_package, the program. The
# library shows public names only; the headers are C99 and C++17.
set -euo pipefail
build=$(realpath "$1")
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'install: %s\n' "$*"; }
fail() { say "FAIL: $*"; exit 1; }

prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >"$work/install.log" || { cat "$work/install.log"; fail "cmake --install"; }
lib=$(dirname "$(find "$prefix" -name libferry.so -print -quit)")
export PATH=$prefix/bin:$PATH LD_LIBRARY_PATH=$lib PKG_CONFIG_PATH=$lib/pkgconfig
flags=(-Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Werror)

foreign=$(nm -D --defined-only "$lib/libferry.so" | awk '{print $NF}' | grep -v '^ferry_' || true)
[ -z "$foreign" ] || fail "libferry.so shows $foreign"
say "libferry.so shows $(nm -D --defined-only "$lib/libferry.so" | wc -l) names, all ferry_"

cc -std=c99 -pedantic-errors "${flags[@]}" "$source/tests/install/header_c99.c" $(pkg-config --cflags --libs ferry) -o "$work/c99"
c++ -std=c++17 -pedantic-errors "${flags[@]}" "$source/tests/install/header_cxx.cpp" $(pkg-config --cflags --libs ferry) -o "$work/cxx"
"$work/c99" && "$work/cxx"
for h in run ferry tools plugin; do echo "#include <ferry/$h.h>" | cc -std=c99 "${flags[@]}" $(pkg-config --cflags ferry) -x c -fsyntax-only -; done
echo "#include <ferry/ferry.hpp>" | c++ -std=c++17 -pedantic-errors "${flags[@]}" $(pkg-config --cflags ferry) -x c++ -fsyntax-only -
say "headers are C99 and C++17, each alone"
c++ -std=c++17 -pedantic-errors "${flags[@]}" "$source/tests/install/header_hpp.cpp" $(pkg-config --cflags --libs ferry) -pthread -o "$work/hpp"
(cd "$work" && ./hpp "$source/tests/fixtures/pt2/t215/cnn.pt2") || fail "ferry.hpp"
say "ferry.hpp works"

cp "$source/tests/fixtures/pt2/t215/cnn.pt2" "$source/examples/fashion/"{fashion.pt2,images.npz} "$work"
cd "$work"
ferry --version | grep -q "^ferry $(pkg-config --modversion ferry)$" || fail "ferry --version is not $(pkg-config --modversion ferry)"
ferry export cnn.pt2 -q
ferry export fashion.pt2 -q
"$build/examples/fashion" unpack images.npz in.npz . >/dev/null

cc -std=c11 "${flags[@]}" "$source/examples/minimal.c" $(pkg-config --cflags --libs ferry) -o minimal
./minimal cnn.onnx
cc -std=c11 "${flags[@]}" "$source/examples/minimal.c" $(pkg-config --cflags --libs ferry-run) -o minimal-run
[ "$(./minimal cnn.onnx)" = "$(./minimal-run cnn.onnx)" ] || fail "libferry-run gives other numbers"
foreign=$(ldd "$lib/libferry-run.so" | grep -Ev 'lib(c|m|pthread|dl)\.so|ld-linux|linux-vdso|linux-gate' || true)
[ -z "$foreign" ] || fail "libferry-run.so needs $foreign"
say "libferry-run.so stands on libc and libm alone"
mkdir consumer
cmake -S "$source/examples/find_package" -B consumer -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${flags[*]}" -DCMAKE_CXX_FLAGS="${flags[*]}" >consumer.log ||
    { cat consumer.log; fail "find_package(ferry)"; }
cmake --build consumer >consumer.log 2>&1 || { cat consumer.log; fail "the examples do not build"; }
[ "$(./minimal cnn.onnx)" = "$(consumer/minimal cnn.onnx)" ] || fail "pkg-config and find_package give different programs"
consumer/errors cnn.onnx
consumer/threads cnn.onnx 4 | tee threads.txt
grep -q 'the same bits' threads.txt
cmake -S "$source/examples/plugin" -B plugin -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${flags[*]}" >plugin.log && cmake --build plugin >>plugin.log 2>&1 ||
    { cat plugin.log; fail "the plugin does not build"; }
! nm -D --undefined-only plugin/examples/distance.so | grep ' ferry_' || fail "a plugin needs libferry"
ferry run "$source/examples/plugin/nearest.onnx" --plugin plugin/examples/distance.so --random --sizes n=3,m=2 | grep -q '^distance  f32\[3,2\]' || fail "the plugin does not run"
c++ -std=c++17 -pedantic-errors "${flags[@]}" -shared -fPIC "$source/tests/plugins/words.cpp" $(pkg-config --cflags ferry) -o words.so
ferry info "$source/examples/plugin/nearest.onnx" --plugin words.so -q || fail "a plugin in C++ does not load"
for class in shirt:6 boot:9 bag:8; do
    consumer/classify fashion.onnx "${class%:*}.png" | tee class.txt
    grep -q "^class ${class#*:} of 10" class.txt || fail "classify: ${class%:*}"
done
say "ok"
