#!/usr/bin/env bash
# Build an image with labels that name its version and its source.
#
#   deploy/build.sh Dockerfile.api signalml-api
#   ENGINE=podman deploy/build.sh Dockerfile.api signalml-api --format docker
set -euo pipefail
cd "$(dirname "$0")/.."

ENGINE=${ENGINE:-docker}
DOCKERFILE=$1 IMAGE=$2
shift 2
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=${GITHUB_SHA:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
label=org.opencontainers.image
source=()
if [ -n "${GITHUB_REPOSITORY:-}" ]; then
    source=(--label "$label.source=${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY")
fi
$ENGINE build --file "$DOCKERFILE" --tag "$IMAGE" --label "$label.version=$version" \
    --label "$label.revision=$revision" "${source[@]}" "$@" .
