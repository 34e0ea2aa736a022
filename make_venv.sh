#!/usr/bin/env bash
# Makes the virtual environment DIR and installs constraints.txt, the pinned versions of
# all that requirements.txt needs: bash make_venv.sh DIR [VERSION]
# The Python is that of the environment's PYTHON or else python3 where it is 3.10 to
# 3.13 (or VERSION, such as 3.13), else another one that is found, else uv brings one.
# With a GPU of NVIDIA's it is 3.12 or 3.13, and a last line says what to install for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ $# -lt 1 || $# -gt 2 || $1 == -* ]]; then
  echo "usage: bash make_venv.sh DIR [VERSION]" >&2
  exit 2
fi
venv=$1
versions=(3.13 3.12 3.11 3.10)
has_gpu=
if nvidia-smi --list-gpus >/dev/null 2>&1; then
  has_gpu=1
  # TensorFlow 2.14, that of 3.10 and 3.11, has no complete set of CUDA libraries on PyPI.
  versions=(3.13 3.12)
fi
if [[ $# -eq 2 ]]; then
  versions=(3.13 3.12 3.11 3.10)
  if [[ " ${versions[*]} " != *" $2 "* ]]; then
    echo "make_venv.sh: error: VERSION $2 is none of ${versions[*]}" >&2
    exit 2
  fi
  versions=("$2")
fi
if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
  echo "make_venv.sh: error: $venv is there and no virtual environment" >&2
  exit 1
fi

fits='import sys, venv, ensurepip
sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])'
shopt -s nullglob
found=(python3 python "${versions[@]/#/python}")
for version in "${versions[@]}"; do
  found+=("${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python)
done
[[ -n ${PYTHON:-} ]] && found=("$PYTHON")
for python in "${found[@]}"; do
  if command -v "$python" >/dev/null &&
    "$python" -c "$fits" "${versions[@]}" 2>/dev/null; then
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
    made=1
    break
  fi
done
if [[ -z ${made:-} ]]; then
  echo "No Python ${versions[*]} with venv here; making $venv with uv"
  uv=$(command -v uv || true)
  if [[ -z $uv ]]; then
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet uv; }; then
      echo "make_venv.sh: error: install uv or Python ${versions[0]}, then try again" >&2
      exit 1
    fi
    uv=$tools/bin/uv
  fi
  if ! "$uv" venv --clear --seed --python "${versions[0]}" "$venv"; then
    echo "make_venv.sh: error: uv could not bring Python ${versions[0]}; install one" \
      "of ${versions[*]}, or name it: PYTHON=/path/to/python${versions[0]}" >&2
    exit 1
  fi
fi
echo "Installing constraints.txt (about 2 GB, mostly TensorFlow)"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
pip+=(--require-hashes --requirement)
# uv takes a fifth of pip's time. Where it fails (it does not read pip's settings, such as
# those of a mirror), pip does it.
"${pip[@]}" <(awk '/^[^ ]/ { is_uv = /^uv==/ } is_uv' constraints.txt)
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" \
  --require-hashes --requirement constraints.txt || "${pip[@]}" constraints.txt
# Compiled functions are kept beside the sources: the first call need not wait for them.
compiled=$(mktemp -d)
"$venv/bin/python" compress.py example_images/chelsea.png --output "$compiled" >/dev/null
rm -rf "$compiled"
if [[ $has_gpu ]]; then
  version=$("$venv/bin/python" -c 'from importlib.metadata import version as v
print(v("tensorflow"))')
  echo "A GPU is here. Its libraries: $venv/bin/pip install \"tensorflow[and-cuda]==$version\"" \
    "and then: $venv/bin/python -m training.check_gpu"
fi
