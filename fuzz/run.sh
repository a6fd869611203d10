#!/usr/bin/env bash
# run.sh [SECONDS] - libFuzzer on every reader, with AddressSanitizer and UndefinedBehaviorSanitizer, 60 seconds each, from the committed
# fixtures; then hostile operands for every operator, FERRY_HOSTILE (1000) combinations for each node, seeds 1 to 3. What it finds stays in build-fuzz/found; a file from there goes to tests/corpus with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
command -v clang >/dev/null || { echo "clang is needed: apt-get install clang" >&2; exit 2; }
mkdir -p build-fuzz/found
cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug -DFERRY_SANITIZE=address,undefined \
    -DFERRY_FUZZ_ONLY=ON -DFERRY_LIBFUZZER=ON >build-fuzz/configure.log 2>&1 || { cat build-fuzz/configure.log; exit 1; }
cmake --build build-fuzz -j2
for program in build-fuzz/fuzz/libfuzz_*; do
    name=${program##*libfuzz_}
    mkdir -p "build-fuzz/corpus/$name"
    case $name in
    onnx) seeds=(tests/fixtures/onnx) ;;
    pt2|zip) seeds=(tests/fixtures/pt2/t28 tests/fixtures/other) ;;
    npz) seeds=(tests/fixtures/npz) ;;
    image) seeds=(tests/fixtures/image) ;;
    *) seeds=() ;;
    esac
    echo "== $name, $seconds s"
    "$program" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -artifact_prefix=build-fuzz/found/"$name"- -print_final_stats=1 \
        "build-fuzz/corpus/$name" "${seeds[@]}" 2>build-fuzz/"$name".log || { tail -40 build-fuzz/"$name".log; exit 1; }
    grep -E 'stat::number_of_executed_units|DONE' build-fuzz/"$name".log | head -2
done

cmake -S . -B build-hostile -DCMAKE_BUILD_TYPE=Debug -DFERRY_SANITIZE=address,undefined >build-fuzz/configure-hostile.log 2>&1 || { cat build-fuzz/configure-hostile.log; exit 1; }
cmake --build build-hostile -j2 --target test_ops_hostile_operands
for seed in 1 2 3; do
    echo "== hostile operands, seed $seed"
    FERRY_HOSTILE_SEED=$seed FERRY_HOSTILE=${FERRY_HOSTILE:-1000} build-hostile/tests/test_ops_hostile_operands 2>build-fuzz/hostile.log >&2 || { tail -40 build-fuzz/hostile.log; exit 1; }
    grep operators, build-fuzz/hostile.log
done
