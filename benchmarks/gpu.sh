#!/usr/bin/env bash
# Everything there is to know of a card, in one call on a bare machine without network:
#
#   benchmarks/gpu.sh OUT COMFYUI [NEWER_COMFYUI]
#
# OUT gets figures and logs after each part, most valuable first, so that a call that is cut off is worth something. WHEELS names a
# folder of wheels the machine lacks. SECONDS_LEFT (480) is for all parts, PIXELS and STEPS for a rehearsal with small numbers:
#   PIXELS=64 STEPS=1 benchmarks/gpu.sh /tmp/out .comfyui/0.3.75
set -u
mkdir -p "$1"
out=$(realpath "$1") comfyui=$(realpath "$2") newer=${3:+$(realpath "$3")}
cd "$(dirname "$0")/.." || exit
python=$(command -v "${PYTHON:-python3}")
deadline=$((SECONDS + ${SECONDS_LEFT:-480}))
size=()
[[ -z ${PIXELS:-} ]] || size+=(--pixels "$PIXELS")
[[ -z ${STEPS:-} ]] || size+=(--steps "$STEPS")
if [[ -n ${WHEELS:-} ]]; then
  "$python" -m pip install -q --no-index --no-deps --target "$out/packages" "$WHEELS"/*.whl
  export PYTHONPATH=$out/packages
fi

part() { # NAME LIMIT COMMAND ...
  local name=$1 limit=$2 left=$((deadline - SECONDS)) started=$SECONDS
  shift 2
  ((left > 5)) || return
  timeout -k 5 $((limit < left ? limit : left)) "$@" >"$out/$name.log" 2>&1
  echo "{\"part\": \"$name\", \"exit\": $?, \"seconds\": $((SECONDS - started))}" | tee -a "$out/parts.jsonl"
  cp -r benchmarks/results "$out/"
}
benchmark() { # NAME LIMIT COMFYUI GOAL
  part "$1" "$2" "$python" dev.py bench --python "$python" --comfyui "$3" "$4" "${size[@]}"
}
card_tests() { # NAME LIMIT COMFYUI
  part "$1" "$2" env CNS_COMFYUI="$3" CNS_BASE="$PWD/.comfyui/base" HF_HUB_OFFLINE=1 \
    PYTHONPATH="$3:$PWD${PYTHONPATH:+:$PYTHONPATH}" "$python" -m pytest -q -m gpu tests/core tests/comfy tests/server/test_gpu.py
}

part setup 60 "$python" dev.py setup --python "$python" --comfyui "$comfyui"
card_tests tests 90 "$comfyui"
benchmark train 120 "$comfyui" train
benchmark breakdown 40 "$comfyui" breakdown
[[ -z $newer ]] || card_tests tests-newer 60 "$newer"
benchmark apply 40 "$comfyui" apply
[[ -z $newer ]] || benchmark apply-newer 40 "$newer" apply
benchmark optimizations 150 "$comfyui" optimizations
benchmark peers 120 "$comfyui" peers
benchmark scoring 40 "$comfyui" scoring
