#!/bin/sh
# Installs the real registry and skopeo from Debian's packages, where the machine allows it.
# Where it does not, the tests that need them are skipped with one loud line (and fail in CI).
set -eu
missing=""
for tool in docker-registry skopeo gpg; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo="none"; fi
    if [ "$sudo" != none ]; then
        echo "installing$missing from the distribution's packages"
        $sudo apt-get update -qq >/dev/null 2>&1 || true
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $missing >/dev/null 2>&1 || true
    fi
fi
for tool in $missing; do
    command -v "$tool" >/dev/null 2>&1 || echo "!!! $tool is missing: the tests that need it are skipped" >&2
done
