#!/bin/sh
# The core's tests under sanitizers: address and undefined behaviour on the tests that reach C++, then threads.
# PYTHON: an interpreter with the development packages; CXX: g++ or clang++.
set -eu
cd "$(dirname "$0")/.."

for kind in address,undefined thread; do
  folder=build/sanitize-${kind%%,*}
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/site" --upgrade . \
    --config-settings=cmake.define.OPQ_SANITIZE="$kind" --config-settings=build-dir="$folder/build"
  if [ "$kind" = thread ]; then
    library=$("$CXX" -print-file-name=libtsan.so)
    tests="tests/test_core.py tests/test_session.py tests/test_integer_core.py tests/test_grouped.py tests/test_integer_arrays.py tests/test_passes.py"
    # Threads of the interpreter and of NumPy are not instrumented; what is reported must be ours.
    options="TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1"
  else
    library="$("$CXX" -print-file-name=libasan.so) $("$CXX" -print-file-name=libstdc++.so)"
    tests="tests/test_core.py tests/test_session.py tests/test_integer_core.py tests/test_codec.py tests/test_container.py tests/test_compression.py
      tests/test_grouped.py tests/test_integer_arrays.py tests/test_golden.py tests/test_limits.py tests/test_half_precision.py
      tests/test_passes.py"
    # The interpreter never frees some of its memory, so leaks cannot be told apart from it.
    options="ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1"
  fi
  echo "opq: $kind"
  # shellcheck disable=SC2086
  env $options LD_PRELOAD="$library" PYTHONPATH="$folder/site" OPENBLAS_NUM_THREADS=1 "$PYTHON" -m pytest -q -p no:cacheprovider $tests
done
