#!/bin/sh
# The core's tests on 64-bit ARM, in qemu's user-mode emulation: cross-compiled with Debian's g++, run by Debian's Python for arm64
# with NumPy's wheels for it. All is unpacked under build/arm64: nothing is installed, and nobody has to be root.
# PYTHON: an interpreter with opq and the development packages. Takes some 8 minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
folder=$(pwd)/build/arm64

# unpack NAME ARCHITECTURE STATUS PACKAGE...: into $folder/NAME, the packages and what they depend on, without what dpkg's file
# STATUS says is installed. apt's own lists lie beside it, since those of the machine may be missing or old.
unpack() (
  name=$1 architecture=$2 status=$3 && shift 3
  apt=$folder/apt-$name
  mkdir -p "$folder/$name" "$apt/lists/partial" "$apt/archives/partial" "$apt/packages"
  cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::status "$status";
Dir::Cache "$apt";
APT::Architecture "$architecture";
APT::Architectures "$architecture";
APT::Sandbox::User "";
APT::Install-Recommends "false";
END
  export APT_CONFIG="$apt/apt.conf"
  apt-get -qq update
  packages=$(apt-get -s install "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  cd "$apt/packages"
  # shellcheck disable=SC2086
  apt-get -qq download $packages
  for package in *.deb; do dpkg -x "$package" "$folder/$name"; done
  rm -f -- *.deb
)

missing() {
  echo "opq: $1 is missing: install $2"
  exit 1
}

if [ ! -e "$folder/.unpacked" ]; then
  echo "opq: unpacking a compiler, an emulator and a Python for arm64"
  command -v apt-get >/dev/null || missing apt-get "it (this target needs Debian or Ubuntu)"
  rm -rf "$folder"
  mkdir -p "$folder"
  : >"$folder/nothing-installed"
  unpack tools "$(dpkg --print-architecture)" /var/lib/dpkg/status g++-aarch64-linux-gnu qemu-user-static ||
    missing "the cross-compiler" "g++-aarch64-linux-gnu and qemu-user-static"
  unpack root arm64 "$folder/nothing-installed" python3 libpython3-dev libstdc++6 ||
    missing "Python for arm64" "a Debian or Ubuntu release that has python3:arm64"
  touch "$folder/.unpacked"
fi
PATH=$folder/tools/usr/bin:$PATH
compiler=$(command -v aarch64-linux-gnu-g++) || missing aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || missing qemu-aarch64-static qemu-user-static
version=$(basename "$(ls "$folder"/root/usr/bin/python3.[0-9]*)")

# The unpacked compiler has its C library, and the libraries of its assembler, under tools; an installed one needs no telling.
case $compiler in
  "$folder"/*) sysroot="--config-settings=cmake.define.CMAKE_SYSROOT=$folder/tools" ;;
  *) sysroot= ;;
esac
libraries=$(find "$folder/tools" -name 'libopcodes-*' -exec dirname {} \;)
headers=$folder/root/usr/include

if [ ! -e "$folder/.packages" ]; then
  "$PYTHON" -m pip freeze | grep -iE '^(numpy|scipy|hypothesis|pytest|onnx|ml_dtypes)==' >"$folder/requirements.txt"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$folder/site" --requirement "$folder/requirements.txt" \
    --only-binary=:all: --implementation cp --python-version "${version#python}" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64
  touch "$folder/.packages"
fi

echo "opq: compiling for arm64"
# shellcheck disable=SC2086
LD_LIBRARY_PATH=$libraries "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/opq" --upgrade . \
  --config-settings=build-dir="$folder/build" $sysroot \
  --config-settings=cmake.define.CMAKE_SYSTEM_NAME=Linux --config-settings=cmake.define.CMAKE_SYSTEM_PROCESSOR=aarch64 \
  --config-settings=cmake.define.CMAKE_CXX_COMPILER="$compiler" --config-settings=cmake.define.CMAKE_CXX_FLAGS="-I$headers" \
  --config-settings=cmake.define.Python_INCLUDE_DIR="$headers/$version" \
  --config-settings=cmake.define.PYTHON_MODULE_EXTENSION=.so

# A Python like any other: -0 makes it its own sys.executable, so that the processes that it starts are emulated as well.
cat >"$folder/python" <<END
#!/bin/sh
PYTHONHOME=$folder/root/usr PYTHONPATH=$folder/opq:$folder/site:\$PYTHONPATH \\
  exec $emulator -0 "\$0" -L $folder/root $folder/root/usr/bin/$version "\$@"
END
chmod +x "$folder/python"

# instruction_sets CPU LIST: what the emulated processor has, best first.
instruction_sets() {
  found=$(QEMU_CPU=$1 "$folder/python" -c 'from opq import _core; print(*_core.supported_isas())')
  [ "$found" = "$2" ] || { echo "opq: $1 has the instruction sets $found, not $2" && exit 1; }
}

# `max`, qemu's default, has all that it can emulate; a Cortex-A53 is ARMv8.0, where an instruction of ARMv8.2 ends the process.
echo "opq: instruction sets"
instruction_sets max "neondot neon scalar"
instruction_sets cortex-a53 "neon scalar"
echo "opq: machine code"
LD_LIBRARY_PATH=$libraries OPQ_MACHINE=aarch64 OPQ_BUILD=build/arm64/build "$PYTHON" -m pytest -q -p no:cacheprovider \
  tests/test_machine_code.py
echo "opq: the same bits as on this machine"
PYTHONPATH=tests "$PYTHON" tools/machine_bits.py write "$folder/bits"
for cpu in max cortex-a53; do
  QEMU_CPU=$cpu PYTHONPATH=tests "$folder/python" tools/machine_bits.py check "$folder/bits"
done
echo "opq: tests"
PYTHONPATH=tests "$folder/python" -m pytest -q -p no:cacheprovider tests/test_core.py tests/test_session.py tests/test_golden.py \
  tests/test_codec.py tests/test_integer_arrays.py tests/test_integer_core.py
