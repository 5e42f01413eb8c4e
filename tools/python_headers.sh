#!/bin/sh
# Prints pip settings that name the headers of the Python in $1: none where they are installed. Debian and Ubuntu keep them in a
# package of their own (python3-dev); where it is missing, it is downloaded and unpacked under build/, without being installed.
set -eu
python=$1
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -e "$include/Python.h" ] && exit 0

folder=$(pwd)/build/python-headers
if [ ! -e "$folder/usr/include/$version/Python.h" ]; then
  mkdir -p "$folder"
  (cd "$folder" && apt-get download -qq "lib$version-dev" && dpkg -x "lib$version-dev"_*.deb .) >/dev/null 2>&1 || {
    echo "opq: Python.h is missing: install python3-dev" >&2
    exit 1
  }
fi
echo "--config-settings=cmake.define.Python_INCLUDE_DIR=$folder/usr/include/$version" \
  "--config-settings=cmake.define.CMAKE_CXX_FLAGS=-I$folder/usr/include"
