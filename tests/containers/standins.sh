#!/usr/bin/env bash
# Makes the stand-ins of standins.Dockerfile, under the names that docker-compose.yml uses. Only where no hub is reached:
# a real image of the same name is not replaced.
set -euo pipefail
cd "$(dirname "$0")/../.."
for service in redis prometheus alertmanager load; do
    image=$(docker compose --profile '*' config --format json |
        python3 -c "import json, sys; print(json.load(sys.stdin)['services']['$service']['image'])")
    marked=$(docker image inspect --format '{{index .Config.Labels "causalrec.stand-in"}}' "$image" 2>/dev/null || echo none)
    if [[ -z $marked ]]; then
        echo "$image is here, the real one"
    else
        docker build --quiet ${BUILD_FLAGS---network=host} --file tests/containers/standins.Dockerfile --target "$service" \
            --tag "$image" tests/containers
        echo "$image is a stand-in now"
    fi
done
