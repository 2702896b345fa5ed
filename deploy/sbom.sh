#!/usr/bin/env bash
# Write the list of the Python packages in an image, in the format CycloneDX (an SBOM): IMAGE.cdx.json in this folder.
# The list is made inside the image from what is installed there, by a tool in a temporary environment. It needs a
# network, and does not change the image.
#
#   deploy/sbom.sh signalml-api
#   ENGINE=podman deploy/sbom.sh signalml-worker
set -euo pipefail

ENGINE=${ENGINE:-docker}
IMAGE=$1
TOOL=cyclonedx-bom==7.5.0
# The packages are in /venv; the base image has a Python of its own, which makes the environment of the tool.
$ENGINE run --rm --entrypoint sh "$IMAGE" -c "
    /usr/local/bin/python -m venv /tmp/tool >&2 &&
    /tmp/tool/bin/pip install --quiet --disable-pip-version-check $TOOL >&2 &&
    /tmp/tool/bin/cyclonedx-py environment --output-reproducible --of JSON /venv/bin/python" >"$IMAGE.cdx.json"
python3 - "$IMAGE.cdx.json" <<'CHECK'
import json
import sys

with open(sys.argv[1]) as file:
    bom = json.load(file)
found = {component["name"] for component in bom["components"]}
missing = {"signalml", "fastapi", "numpy"} - found
if bom["bomFormat"] != "CycloneDX" or missing:
    sys.exit(f"{sys.argv[1]} is not complete: {sorted(missing)} are missing")
print(f"{sys.argv[1]}: {len(found)} packages")
CHECK
