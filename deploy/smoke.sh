#!/usr/bin/env bash
# Test of the whole service in containers: build, first start without a model, uploads to a dataset, feature extraction,
# training (with a SIGTERM meanwhile), an upload, scoring by two workers, live listening to a folder, down and up again.
# It takes two minutes, plus the build. It prints what it measures, and exits with status 1 at the first failure. Needs bash, curl and python3.
#
#   deploy/smoke.sh                 with Docker
#   deploy/smoke.sh --no-build      with existing images
#   ENGINE=podman COMPOSE=podman-compose BUILDAH_FORMAT=docker deploy/smoke.sh
#
# It is a separate Compose project, on port 5055 or SIGNALML_PORT, and removes its volumes at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

ENGINE=${ENGINE:-docker}
COMPOSE="${COMPOSE:-docker compose} --project-name signalml-smoke"
export SIGNALML_PORT=${SIGNALML_PORT:-5055} SIGNALML_PUBLISH=127.0.0.1 SIGNALML_REQUIRE_API_KEY=false
export COMPOSE_PROFILES=listen
URL=http://127.0.0.1:$SIGNALML_PORT
WORK=$(mktemp -d)
RECORDINGS=192

print_result() { printf '%-58s %s\n' "$1" "${2:-}"; }
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
expect() { [ "$2" = "$3" ] || fail "$1 is '$2'; '$3' was expected"; } # NAME FOUND EXPECTED
# One value of the JSON on stdin; examples: field state, field summary.recordings, field jobs.0.id
field() {
    python3 -c 'import functools, json, sys
step = lambda value, key: value[int(key)] if isinstance(value, list) else value[key]
print(functools.reduce(step, sys.argv[1].split("."), json.load(sys.stdin)))' "$1"
}
get() { curl -sS --fail "$URL$1"; }
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; } # CURL'S ARGUMENTS: print the status of an answer
containers() {
    $ENGINE ps -q --filter label=com.docker.compose.project=signalml-smoke \
        --filter "label=com.docker.compose.service=$1"
}
seconds() { echo $(($(date +%s) - $1)) s; }
eventually() { # WITHIN_S COMMAND...: repeat the command until it succeeds
    local until=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until" ] || fail "not in time: $*"
        sleep 0.5
    done
}
submit() { # KIND PARAMETERS: submit a job and print its id
    curl -sS --fail -H 'Content-Type: application/json' -d "$2" "$URL/v1/jobs/$1" | field id
}
state_is() { [ "$(get "/v1/jobs/$1" | field state)" = "$2" ]; }
has_ended() { get "/v1/jobs/$1" | grep -Eq '"state":"(succeeded|failed|cancelled)"'; }
wait_for_success() { # JOB WITHIN_S
    eventually "$2" has_ended "$1"
    state_is "$1" succeeded || fail "job $1: $(get "/v1/jobs/$1")"
}
judged_are() { # NUMBER: the source `incoming` has judged this many recordings
    [ "$($COMPOSE exec -T listener signalml sources show incoming --json | field now.clips_judged)" = "$1" ]
}
is_fitting() { [ "$(get "/v1/jobs/$1" | field progress.step)" = epochs ]; }
is_healthy() {
    if [ "$(basename "$ENGINE")" = podman ]; then
        $ENGINE healthcheck run "$1"
    else
        [ "$($ENGINE inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]
    fi
}
wait_for_health() {
    local service each
    for service in redis api worker trainer listener; do
        for each in $(containers "$service"); do eventually 60 is_healthy "$each"; done
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

# Build, and first start
if [ "${1:-}" != --no-build ]; then
    began=$(date +%s)
    $COMPOSE build >"$WORK/build.log" 2>&1 || fail "build: $(tail -n 20 "$WORK/build.log")"
    print_result "images built" "$(seconds "$began")"
fi
for image in signalml-api signalml-worker signalml-listener; do
    print_result "$image" "$($ENGINE image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1e6}')"
done
began=$(date +%s)
$COMPOSE up -d --no-build >"$WORK/up.log" 2>&1 || fail "up: $(tail -n 20 "$WORK/up.log")"
eventually 60 get /livez
print_result "API up, after the start of all containers" "$(seconds "$began")"
expect "GET /" "$(get /)" "server is up"
expect "/readyz without a model" "$(status "$URL/readyz")" 503
expect "/livez under a name that is not allowed" "$(status -H 'Host: other.example' "$URL/livez")" 421
expect "/livez under the name of the container" "$(status -H 'Host: api:5000' "$URL/livez")" 200
wait_for_health
print_result "all healthy" "$(seconds "$began")"
for service in redis api worker trainer listener; do
    for each in $(containers "$service"); do
        [ "$($ENGINE exec "$each" id -u)" != 0 ] || fail "$service runs as root"
        ! $ENGINE exec "$each" touch /usr/touched 2>/dev/null || fail "$service can write to its image"
    done
done
print_result "no process is root, only volumes can be written" yes

# Upload of recordings
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
expect "recordings" "$(get /v1/datasets/fans | field recordings)" "$RECORDINGS"
print_result "$RECORDINGS recordings uploaded" "$(seconds "$began")"

# Features, and a training whose trainer is stopped once
began=$(date +%s)
job=$(submit feature-extraction '{"dataset": "fans"}')
wait_for_success "$job" 120
expect "recordings with features" "$(get "/v1/jobs/$job" | field summary.recordings)" "$RECORDINGS"
print_result "features extracted" "$(seconds "$began")"
began=$(date +%s)
job=$(submit retraining '{"dataset": "fans"}')
eventually 120 is_fitting "$job"
stopping=$(date +%s)
$COMPOSE stop trainer >/dev/null 2>&1
print_result "trainer stopped by SIGTERM during the fit" "$(seconds "$stopping")"
has_ended "$job" && fail "the training ended with its trainer: $(get "/v1/jobs/$job")"
$COMPOSE start trainer >/dev/null 2>&1
wait_for_success "$job" 600
expect "attempts" "$(get "/v1/jobs/$job" | field attempt)" 1
print_result "trained, by two trainers one after the other" "$(seconds "$began")"
eventually 10 get /readyz
model=$(get /readyz | field model.version)
print_result "answers uploads" "$model"
# sed reads to the end, unlike head, so that sort can write all its lines.
upload=$(find "$WORK/fans" -path '*abnormal*' -name '*.wav' | sort | sed -n 1p)
curl -sS --fail -F "file=@$upload" "$URL/inference" | field Details.Message >/dev/null
# The images contain no decoder of M4A; these are the first bytes of such a file.
printf '\000\000\000\034ftypM4A \000\000\000\000M4A mp42isom\000\000\000\000' >"$WORK/sound.m4a"
refusal=$(curl -sS -F "file=@$WORK/sound.m4a" "$URL/v1/predict")
expect "refusal of M4A" "$(field code <<<"$refusal")" audio_decoder_missing
case $refusal in *"ffmpeg -i in.m4a out.wav"*) ;; *) fail "no advice to convert: $refusal" ;; esac

# Scoring by two workers
$COMPOSE up -d --no-build --scale worker=2 >"$WORK/up.log" 2>&1 || fail "scale: $(tail -n 20 "$WORK/up.log")"
eventually 60 workers_are 2
began=$(date +%s)
job=$(submit scoring '{"dataset": "fans"}')
wait_for_success "$job" 120
print_result "scored" "$(seconds "$began")"
expect "rows" "$(get "/v1/jobs/$job/result?format=ndjson" | wc -l)" "$RECORDINGS"
for each in $(containers worker); do
    parts=$($ENGINE logs "$each" 2>&1 | grep "$job" | grep 'part-' | grep -c '"done"' || true)
    print_result "  parts done by worker $each" "$parts"
    [ "$parts" -gt 0 ] || fail "one of the two workers did nothing"
done

# Live listening: a folder in the volume, into which a recorder writes
began=$(date +%s)
$COMPOSE exec -T listener sh -c \
    'mkdir /data/incoming && signalml sources add incoming --folder /data/incoming --machine fan/id_00 \
     --set settle_s=0.5' >"$WORK/source.log" 2>&1 || fail "source: $(cat "$WORK/source.log")"
count=0
for each in $(find "$WORK/fans" -path '*id_00/abnormal*' -name '*.wav' | sort | sed -n 1,5p); do
    count=$((count + 1))
    $COMPOSE exec -T listener sh -c "cat >/data/incoming/$count.wav" <"$each"
done
eventually 60 judged_are "$count"
print_result "$count recordings of a folder judged by the listener" "$(seconds "$began")"
print_result "events" "$($COMPOSE exec -T listener signalml events --json | wc -l)"
get /v1/events >/dev/null

# Down, and up with the same data
before=$(get /v1/jobs)
began=$(date +%s)
$COMPOSE down --remove-orphans >/dev/null 2>&1
print_result "down" "$(seconds "$began")"
began=$(date +%s)
$COMPOSE up -d --no-build >"$WORK/up.log" 2>&1 || fail "up again: $(tail -n 20 "$WORK/up.log")"
eventually 60 get /readyz
print_result "up again, answering uploads" "$(seconds "$began")"
expect "the model" "$(get /readyz | field model.version)" "$model"
expect "recordings" "$(get /v1/datasets/fans | field recordings)" "$RECORDINGS"
eventually 30 get /v1/jobs
expect "the jobs" "$(get /v1/jobs)" "$before"
get "/v1/jobs/$job/result?format=csv" >/dev/null
wait_for_health
$COMPOSE exec -T worker signalml doctor
print_result "PASSED"
