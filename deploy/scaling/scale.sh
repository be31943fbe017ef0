#!/bin/sh
# Follows the number of nodes that are wanted, without any orchestrator: `scale.sh LEAST MOST COMMAND …` runs COMMAND with
# the number at its end whenever that changes, for instance
#
#   scale.sh 1 8 sh -c 'docker compose up --detach --no-recreate --scale worker="$0"'
#
# It grows at once. It shrinks when less was wanted for PATIENCE looks in a row: by default for five minutes. LOOKS ends it
# after so many.
set -eu

least=$1 most=$2
shift 2
seconds=${SECONDS_BETWEEN_LOOKS:-15} patience=${PATIENCE:-20} looks=${LOOKS:--1}
now=-1 fewer=0

while [ "$looks" -ne 0 ]; do
    # A store that does not answer changes nothing.
    wanted=$(mainspring nodes wanted) || wanted=$now
    [ "$wanted" -ge "$least" ] || wanted=$least
    [ "$wanted" -le "$most" ] || wanted=$most
    if [ "$wanted" -lt "$now" ]; then
        fewer=$((fewer + 1))
    else
        fewer=0
    fi
    if [ "$wanted" -gt "$now" ] || [ "$fewer" -ge "$patience" ]; then
        "$@" "$wanted" && now=$wanted fewer=0
    fi
    [ "$looks" -lt 0 ] || looks=$((looks - 1))
    sleep "$seconds"
done
