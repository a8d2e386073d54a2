#!/bin/sh
# Installs a build folder into an empty root, builds programs against it with nothing but pkg-config, and runs them.
#
# usage: check_install.sh <build folder>
#
# The programs are main.cpp, net.cpp (with weft-net) and tls.cpp (with weft-tls) beside this script, and the first program of
# README.md, so that what the page shows works.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root meson install -C "$1" --no-rebuild --quiet

pc=$(find "$root" -name weft.pc)
[ -n "$pc" ] || { echo "install: no weft.pc was installed"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
# The tree lies under DESTDIR, not where it will live.
prefix=$root$(pkg-config --variable=prefix weft)

for header in $(cd "$here/../.." && find ./*/include -name '*.hpp' | sed 's|.*/include/||'); do
  [ -f "$prefix/include/$header" ] || { echo "install: $header is missing"; exit 1; }
done

awk '/^```cpp$/ { on = 1; next } /^```$/ && on { exit } on' "$here/../../README.md" >"$root/readme.cpp"
for program in "$here/main.cpp" "$here/net.cpp" "$here/tls.cpp" "$root/readme.cpp"; do
  case $program in
    */net.cpp) package=weft-net ;;
    */tls.cpp) package=weft-tls ;;
    *) package=weft ;;
  esac
  flags=$(pkg-config --define-variable=prefix="$prefix" --cflags --libs $package)
  for compiler in g++ clang++-14; do
    command -v "$compiler" >/dev/null || continue
    # shellcheck disable=SC2086  # the flags are words
    "$compiler" -std=c++20 -O1 -Wall -Wextra -Werror "$program" $flags -o "$root/program"
    timeout 60 "$root/program" >"$root/output" || { cat "$root/output"; echo "install: $program fails"; exit 1; }
  done
done
headers=$(find "$root" -name '*.hpp' | wc -l)
library=$(basename "$(find "$root" -name 'libweft.*' | head -n 1)")
echo "install: clean (weft $(pkg-config --modversion weft): $headers headers, $library, weft.pc, weft-net.pc, weft-tls.pc)"
