#!/usr/bin/env bash
# The whole service in containers, tried as its users would: build, first start without a model, recordings in, features,
# training (with a SIGTERM in its midst), scoring by two workers, uploads, down and up again. Takes two minutes and a
# build. Says what it measures and ends with 1 at the first thing that is not as promised. Needs bash, curl and python3.
#
#   deploy/smoke.sh                 with Docker
#   deploy/smoke.sh --no-build      with the images that are there
#   ENGINE=podman COMPOSE=podman-compose BUILDAH_FORMAT=docker deploy/smoke.sh
#
# It is a project of its own, on port 5055 unless SIGNALML_PORT says otherwise, and removes its own volumes at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

ENGINE=${ENGINE:-docker}
COMPOSE="${COMPOSE:-docker compose} --project-name signalml-smoke"
export SIGNALML_PORT=${SIGNALML_PORT:-5055} SIGNALML_PUBLISH=127.0.0.1 SIGNALML_REQUIRE_API_KEY=false
URL=http://127.0.0.1:$SIGNALML_PORT
WORK=$(mktemp -d)
RECORDINGS=192

say() { printf '%-58s %s\n' "$1" "${2:-}"; }
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
is() { [ "$2" = "$3" ] || fail "$1 is '$2'; '$3' was expected"; }
# One value of a JSON document on stdin: field state, field summary.recordings, field jobs.0.id
field() {
    python3 -c 'import functools, json, sys
step = lambda value, key: value[int(key)] if isinstance(value, list) else value[key]
print(functools.reduce(step, sys.argv[1].split("."), json.load(sys.stdin)))' "$1"
}
get() { curl -sS --fail "$URL$1"; }
containers() {
    $ENGINE ps -q --filter label=com.docker.compose.project=signalml-smoke \
        --filter "label=com.docker.compose.service=$1"
}
seconds() { echo $(($(date +%s) - $1)) s; }
eventually() { # WITHIN_S COMMAND...: until it succeeds
    local until=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || fail "not in time: $*"
        sleep 0.5
    done
}
submitted() { # KIND PARAMETERS: the id of the job
    curl -sS --fail -H 'Content-Type: application/json' -d "$2" "$URL/v1/jobs/$1" | field id
}
state_is() { [ "$(get "/v1/jobs/$1" | field state)" = "$2" ]; }
ended() { get "/v1/jobs/$1" | grep -Eq '"state":"(succeeded|failed|cancelled)"'; }
succeeded() { # JOB WITHIN_S
    eventually "$2" ended "$1"
    state_is "$1" succeeded || fail "job $1: $(get "/v1/jobs/$1")"
}
fitting() { [ "$(get "/v1/jobs/$1" | field progress.step)" = epochs ]; }
healthy() {
    if [ "$(basename "$ENGINE")" = podman ]; then
        $ENGINE healthcheck run "$1"
    else
        [ "$($ENGINE inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]
    fi
}
all_healthy() {
    local service each
    for service in redis api worker trainer; do
        for each in $(containers "$service"); do eventually 60 healthy "$each"; done
    done
}
workers_are() { get /metrics | grep -q "^signalml_workers{queue=\"scoring\"} $1"; }
clean() {
    local status=$?
    [ "$status" = 0 ] || $COMPOSE logs --tail 20 >&2 || true
    $COMPOSE down --volumes --remove-orphans >/dev/null 2>&1 || true
    rm -rf "$WORK"
}
trap clean EXIT

# Built, and started for the first time
if [ "${1:-}" != --no-build ]; then
    began=$(date +%s)
    $COMPOSE build >"$WORK/build.log" 2>&1 || fail "build: $(tail -n 20 "$WORK/build.log")"
    say "images built" "$(seconds "$began")"
fi
for image in signalml-api signalml-worker; do
    say "$image" "$($ENGINE image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1e6}')"
done
began=$(date +%s)
$COMPOSE up -d --no-build >"$WORK/up.log" 2>&1 || fail "up: $(tail -n 20 "$WORK/up.log")"
eventually 60 get /livez
say "API up, from nothing" "$(seconds "$began")"
is "GET /" "$(get /)" "server is up"
is "/readyz without a model" "$(curl -s -o /dev/null -w '%{http_code}' "$URL/readyz")" 503
all_healthy
say "all healthy" "$(seconds "$began")"
for service in redis api worker trainer; do
    for each in $(containers "$service"); do
        [ "$($ENGINE exec "$each" id -u)" != 0 ] || fail "$service runs as root"
        ! $ENGINE exec "$each" touch /usr/touched 2>/dev/null || fail "$service can write to its image"
    done
done
say "nobody is root, nobody writes beside the volumes" yes

# Recordings in, over HTTP
$COMPOSE exec -T worker sh -c \
    'signalml simulate /tmp/fans --machines 2 --sessions 4 --recordings 4 --snr 6 --duration 4 >&2
     tar -C /tmp -c fans && rm -r /tmp/fans' \
    2>/dev/null | tar -x -C "$WORK"
began=$(date +%s)
while IFS=, read -r path label machine machine_id snr_db fault group; do
    curl -sS --fail -o /dev/null -F "file=@$WORK/fans/$path" -F "label=$label" -F "machine=$machine" \
        -F "machine_id=$machine_id" -F "snr_db=$snr_db" -F "fault=$fault" -F "group=$group" \
        "$URL/v1/datasets/fans/recordings"
done < <(tail -n +2 "$WORK/fans/manifest.csv" | tr -d '\r')
is "recordings" "$(get /v1/datasets/fans | field recordings)" "$RECORDINGS"
say "$RECORDINGS recordings uploaded" "$(seconds "$began")"

# Features, and a training that loses its trainer once
began=$(date +%s)
job=$(submitted feature-extraction '{"dataset": "fans"}')
succeeded "$job" 120
is "recordings with features" "$(get "/v1/jobs/$job" | field summary.recordings)" "$RECORDINGS"
say "features extracted" "$(seconds "$began")"
began=$(date +%s)
job=$(submitted retraining '{"dataset": "fans"}')
eventually 120 fitting "$job"
stopping=$(date +%s)
$COMPOSE stop trainer >/dev/null 2>&1
say "trainer stopped by SIGTERM while it fits" "$(seconds "$stopping")"
ended "$job" && fail "the training ended with its trainer: $(get "/v1/jobs/$job")"
$COMPOSE start trainer >/dev/null 2>&1
succeeded "$job" 600
is "attempts that count" "$(get "/v1/jobs/$job" | field attempt)" 1
say "trained, by two trainers in turn" "$(seconds "$began")"
eventually 10 get /readyz
model=$(get /readyz | field model.version)
say "answers uploads" "$model"
upload=$(find "$WORK/fans" -path '*abnormal*' -name '*.wav' | sort | sed -n 1p) # which reads to the end: nobody writes to a closed pipe
curl -sS --fail -F "file=@$upload" "$URL/inference" | field Details.Message >/dev/null

# Scoring, by two workers
$COMPOSE up -d --no-build --scale worker=2 >"$WORK/up.log" 2>&1 || fail "scale: $(tail -n 20 "$WORK/up.log")"
eventually 60 workers_are 2
began=$(date +%s)
job=$(submitted scoring '{"dataset": "fans"}')
succeeded "$job" 120
say "scored" "$(seconds "$began")"
is "rows" "$(get "/v1/jobs/$job/result?format=ndjson" | wc -l)" "$RECORDINGS"
for each in $(containers worker); do
    parts=$($ENGINE logs "$each" 2>&1 | grep "$job" | grep 'part-' | grep -c '"done"' || true)
    say "  parts done by worker $each" "$parts"
    [ "$parts" -gt 0 ] || fail "a worker of two did nothing"
done

# Down, and up with everything still there
before=$(get /v1/jobs)
began=$(date +%s)
$COMPOSE down --remove-orphans >/dev/null 2>&1
say "down" "$(seconds "$began")"
began=$(date +%s)
$COMPOSE up -d --no-build >"$WORK/up.log" 2>&1 || fail "up again: $(tail -n 20 "$WORK/up.log")"
eventually 60 get /readyz
say "up again, and answering" "$(seconds "$began")"
is "the model" "$(get /readyz | field model.version)" "$model"
is "recordings" "$(get /v1/datasets/fans | field recordings)" "$RECORDINGS"
eventually 30 get /v1/jobs
is "the jobs" "$(get /v1/jobs)" "$before"
get "/v1/jobs/$job/result?format=csv" >/dev/null
all_healthy
$COMPOSE exec -T worker signalml doctor
say "PASSED"
