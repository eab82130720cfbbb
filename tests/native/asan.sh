#!/bin/sh
# Builds the extensions with AddressSanitizer and UBSan into a scratch copy and runs the native suite on them.
#   tests/native/asan.sh [interpreter [pytest arguments]]
# Leaks are not looked for: the interpreter itself keeps memory at exit.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
python=$(command -v "${1:-python3}")
[ $# -eq 0 ] || shift
case $python in /*) ;; *) python=$PWD/$python ;; esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

mkdir "$scratch/fastcopy"
cp -R "$here/fastcopy/_native" "$scratch/fastcopy/_native"
cp -R "$here/tests/native" "$scratch/tests"
cp "$here/setup.py" "$scratch/setup.py"
: > "$scratch/fastcopy/__init__.py"
rm -f "$scratch"/fastcopy/_native/*.so
cd "$scratch"

FASTCOPY_ASAN=1 FASTCOPY_REQUIRE_NATIVE=1 "$python" setup.py -q build_ext --inplace

# libstdc++ too: a module that is loaded later and throws would otherwise miss its interceptor.
LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so) $(cc -print-file-name=libstdc++.so)"
ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:strict_string_checks=1
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
PYTHONMALLOC=malloc
FASTCOPY_REQUIRE_NATIVE=1
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS PYTHONMALLOC FASTCOPY_REQUIRE_NATIVE
exec "$python" -m pytest tests -q -p no:cacheprovider -W error -k 'native or state' "$@"
