#!/bin/sh
# Installs the real registry and skopeo from Debian's packages, where the machine allows it.
# Where it does not, the tests that need them are skipped with one loud line (and fail in CI).
# umoci, which reads OCI layouts, is built into .cache/bin where there is Go; it replaces modules, so that
# `go install` refuses it and it is built in its own module's directory.
set -eu
UMOCI=v0.6.0
bin=$(cd "$(dirname "$0")/.." && pwd)/.cache/bin
if [ ! -x "$bin/umoci" ] && command -v go >/dev/null 2>&1; then
    mkdir -p "$bin"
    source=$(go mod download -json "github.com/opencontainers/umoci@$UMOCI" 2>/dev/null | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') || true
    { [ -n "$source" ] && cd "$source" && CGO_ENABLED=0 go build -mod=readonly -o "$bin/umoci" ./cmd/umoci 2>/dev/null; } ||
        echo "!!! umoci cannot be built: the tests that need it are skipped" >&2
    cd "$bin/../.."
fi
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
