#!/bin/sh
# Trains families side by side on one machine: engines/train.sh DATA OUT RECIPE...
#   engines/train.sh pictures out m4c16 m10c32 vdsr      each x2, then x3 and x4, which may start from it
# Weights, checkpoints, curves and logs go to OUT; run again, it goes on. `vsr-train RECIPE --resume --out OUT` makes models
# of the weights where OpenVINO is. STEPS cuts every recipe to so many steps, to see that all of it runs; BATCH makes every
# step of so many patches, for a GPU that a few leave idle.
set -eu
data=$1 out=$2
shift 2
mkdir -p "$out"

one() {
    python3 -m vsr.cli.train "$1" --data "$data" --out "$out" --resume --weights-only ${STEPS:+--steps "$STEPS"} \
        ${BATCH:+--batch "$BATCH"} \
        >"$out/$1.log" 2>&1 || echo "$1 failed: $(tail -n 1 "$out/$1.log")"
}

for network in "$@"; do
    (
        one "${network}_x2"
        one "${network}_x3"
        one "${network}_x4"
    ) &
done
wait
