#!/bin/sh
# Makes (or completes) a chroot with the newest packaged peers: skopeo, crane, oras, docker-registry of Debian sid.
#
#   benchmarks/install_peers.sh [DIR]        default DIR: /opt/peers-sid; needs root and debootstrap
#
# Then: python -m benchmarks run --chroot DIR. Running it again repairs what is missing and changes nothing else.
# The C floor needs a compiler and OpenSSL's headers; they are installed too where apt can.
set -eu

dir=${1:-/opt/peers-sid}
mirror=${MIRROR:-http://deb.debian.org/debian}
peers="skopeo crane oras docker-registry"

[ "$(id -u)" = 0 ] || { echo "install_peers: root is needed" >&2; exit 1; }

have_all() {
    for peer in $peers; do
        [ -x "$dir/usr/bin/$peer" ] || return 1
    done
}

mounted() { awk -v at="$1" '$2 == at { found = 1 } END { exit !found }' /proc/mounts; }

bind() {
    mkdir -p "$dir$1"
    mounted "$dir$1" || mount --rbind --make-rslave "$1" "$dir$1" ||
        echo "install_peers: $dir$1 could not be mounted; the harness mounts its own, only 'chroot' by hand needs it" >&2
}

if command -v apt-get >/dev/null; then
    missing=
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
    command -v cc >/dev/null || missing="$missing gcc libc6-dev"
    [ -e /usr/include/openssl/ssl.h ] || missing="$missing libssl-dev"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || apt-get install -y --no-install-recommends $missing ||
        echo "install_peers: could not install:$missing" >&2
fi

if ! have_all; then
    # The last package's configuration may fail inside a chroot; the programs are there all the same.
    debootstrap --variant=minbase --include="$(echo $peers ca-certificates | tr ' ' ,)" sid "$dir" "$mirror" ||
        echo "install_peers: debootstrap complained; looking whether the programs are there" >&2
fi

have_all || { echo "install_peers: not all of '$peers' are in $dir; see $dir/debootstrap/debootstrap.log" >&2; exit 1; }
bind /proc
bind /dev
for peer in $peers; do
    printf '%-16s %s\n' "$peer" "$(chroot "$dir" dpkg-query -W -f '${Version}' "$peer")"
done
