#!/usr/bin/env bash
# Trains for so many seconds and packs what the next piece needs, for a card that is lent for minutes at a time.
#
#     benchmarks/gpu/piece.sh RUN SECONDS PARTS [OPTIONS of equiprop train]
#
# The first piece begins the run; a later one, wherever PARTS has been taken, goes on from its last checkpoint. PARTS are files of at
# most 15 MiB: the run with its newest checkpoint alone, so that the best by validation error is that of the pieces here.
set -euo pipefail
run=$1 seconds=$2 parts=$3
shift 3
if [ ! -e "$run" ] && compgen -G "$parts/run.tar.*" >/dev/null; then
  mkdir -p "$run"
  cat "$parts"/run.tar.* | tar x -C "$run"
fi
if [ -e "$run/config.toml" ]; then set -- --resume "$run"; else set -- "$@" --out "$run"; fi
ended=0
timeout --signal INT --kill-after 60 "$seconds" equiprop train "$@" || ended=$?
newest=$(cd "$run" && ls checkpoints/epoch-* | sort | tail -1)
mkdir -p "$parts"
rm -f "$parts"/run.tar.*
tar c -C "$run" --exclude ./checkpoints . "$newest" | split -b 15M -d - "$parts/run.tar."
case $ended in
  0) echo "finished: $run" ;;
  124 | 130) echo "not finished: $(basename "$newest" .safetensors); the same command goes on" ;;
  *) exit "$ended" ;;
esac
