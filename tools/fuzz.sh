#!/bin/sh
# Runs every libFuzzer target of cpp/fuzz for FUZZ_SECONDS (60), under the address and undefined-behaviour sanitizers.
# PYTHON: an interpreter with opq and the development packages. Needs clang++. Everything is written to build/fuzz: in
# corpus the inputs that reach new code, for the next time, in crashes those that broke something.
set -eu
cd "$(dirname "$0")/.."
folder=build/fuzz

command -v clang++ >/dev/null || { echo "opq: clang++ is missing: install clang"; exit 1; }
echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null ||
  { echo "opq: clang++ has no libFuzzer: install libclang-rt-dev of its version, such as libclang-rt-14-dev"; exit 1; }

CXX=clang++ "$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder/wheel" . \
  --config-settings=cmake.define.OPQ_FUZZ=ON --config-settings=cmake.define.OPQ_SANITIZE=address,undefined \
  --config-settings=build-dir="$folder/build"
PYTHONPATH=tests "$PYTHON" tools/fuzz_corpus.py "$folder/seeds"
for target in container codec encoder network; do
  echo "opq: $target"
  mkdir -p "$folder/corpus/$target" "$folder/crashes/$target"
  "$folder/build/${target}_fuzzer" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
    -print_final_stats=1 -artifact_prefix="$folder/crashes/$target/" "$folder/corpus/$target" "$folder/seeds/$target" \
    >"$folder/$target.log" 2>&1 || { tail -n 100 "$folder/$target.log"; exit 1; }
  grep -E ' DONE |exec_per_sec|peak_rss' "$folder/$target.log"
done
