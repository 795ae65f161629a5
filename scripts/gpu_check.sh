#!/usr/bin/env bash
# Measures this package on a GPU in under ten minutes, without data and without a network connection:
#   scripts/gpu_check.sh [options of `spatial3d bench gpu`]         the figures go to gpu_check.json, or to $OUT
# The script itself is tried without a GPU by
#   scripts/gpu_check.sh --device cpu --model config/models/ablation.yaml --views 2 --questions 10
# PYTHON: an interpreter with the requirements, by default that of `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
[ -x "$PYTHON" ] || PYTHON=python3
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
missing=$("$PYTHON" - <<'PY'
from importlib.util import find_spec
needed = "torch transformers safetensors tokenizers numpy scipy cv2 typer rich pydantic yaml accelerate peft embreex rapidfuzz"
print(" ".join(name for name in needed.split() if find_spec(name) is None))
PY
)
[ -z "$missing" ] || { echo "gpu_check: $PYTHON lacks: $missing; run make setup, or pip install '.[research]'" >&2; exit 1; }
"$PYTHON" -c "import torchao" 2>/dev/null || echo "gpu_check: torchao is not installed: int4 is left out (pip install '.[quantize]')" >&2
out=${OUT:-gpu_check.json}
timeout 570 "$PYTHON" -m spatial3d_ros bench gpu --json "$@" > "$out"
cat "$out"
