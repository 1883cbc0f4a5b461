#!/usr/bin/env bash
# The CPU's images and what is in them, from this checkout:   docker/images.sh [further options of docker build]
#
# BUILD_FLAGS is --network=host unless it is set: downloads then take this machine's own way out (a VPN, a proxy on
# loopback). For a GPU: FLAVOUR=gpu docker/images.sh
set -euo pipefail
cd "$(dirname "$0")/.."
flavour=${FLAVOUR:-cpu}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || revision=$revision-dirty
created=$(git log -1 --format=%cI 2>/dev/null || date -u +%FT%TZ)
source=$(git config --get remote.origin.url || true)
[[ $source == http* || $source == git@* ]] || source=unknown # a folder of this machine says nothing elsewhere
read -ra flags <<<"${BUILD_FLAGS---network=host}"

build() { # TARGET OPTION...
    docker build --file docker/Dockerfile --target "$1" "${flags[@]}" --build-arg "FLAVOUR=$flavour" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" \
        --build-arg "SOURCE=$source" "${@:2}" .
}

build service --tag "causalrec/service:$flavour" "$@"
build trainer --tag "causalrec/trainer:$flavour" "$@"
build sbom --output "build/sbom/$flavour" "$@"
docker images --filter "reference=causalrec/*:$flavour" --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
echo "build/sbom/$flavour/causalrec.cdx.json"
