#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes a container engine and a stand-in for python:3.11-slim where no image registry is to be had.
#
# Needs root on Debian 12 and its package mirror, whichever apt is configured for. Does nothing that was done before.
# Everything it writes is under the folder given (default: build/containers); the image goes to podman's own store.
#
#     docker/ci-base.sh [FOLDER]
#     export CONTAINERS_CONF=FOLDER/containers.conf      # what podman has to be told afterwards
set -euo pipefail

folder=${1:-build/containers}
image=localhost/python:3.11-slim
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

say() { printf '%s\n' "    $*"; }

packages=(podman buildah runc netavark aardvark-dns iptables catatonit debootstrap)
if ! dpkg-query --show "${packages[@]}" >/dev/null 2>&1; then
    say "installing podman, runc and debootstrap"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$folder/apt.log" 2>&1 || {
        tail -20 "$folder/apt.log"
        exit 1
    }
fi

# runc and the limits: a machine that is itself a container has cgroups in hybrid mode, which crun refuses, and may
# not raise the limits that podman asks for.
cat >"$folder/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
export CONTAINERS_CONF=$folder/containers.conf

if ! podman image exists "$image"; then
    # With `read` from a process substitution an empty answer is an error of this script, not an empty address.
    read -r mirror release < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' | head -1)
    say "building the base image from Debian $release"
    root=$(mktemp -d "$folder/rootfs.XXXXXX")
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
        "$release" "$root" "$mirror" >"$folder/debootstrap.log" 2>&1 || {
        tail -20 "$folder/debootstrap.log"
        exit 1
    }
    # As in the image it stands for, pip installs into the system's Python.
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    ln -s /usr/bin/python3 "$root/usr/local/bin/python"
    ln -s /usr/bin/pip3 "$root/usr/local/bin/pip"
    # The certificates that this machine trusts, or pip cannot verify a site's own package index. This image stays here.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    tar -C "$root" -c . | podman import --quiet --change 'CMD ["python3"]' - "$image" >/dev/null
fi
say "base image ready: $image"
