#!/usr/bin/env bash
# Makes the virtual environment DIR with Python 3.10 or 3.11, which TensorFlow 2.14
# needs, and installs requirements.txt. Where no such Python is found, uv brings one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ $# -ne 1 || $1 == -* ]]; then
  echo "usage: bash make_venv.sh DIR" >&2
  exit 2
fi
venv=$1
if [[ -e $venv && ! -e $venv/pyvenv.cfg ]]; then
  echo "make_venv.sh: error: $venv is there and no virtual environment" >&2
  exit 1
fi

fits='import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))'
for python in ${PYTHON:-python3.11 python3.10 python3 python}; do
  if command -v "$python" >/dev/null && "$python" -c "$fits" 2>/dev/null; then
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
    made=1
    break
  fi
done
if [[ -z ${made:-} ]]; then
  echo "No Python 3.10 or 3.11 with venv here; making $venv with uv"
  uv=$(command -v uv || true)
  if [[ -z $uv ]]; then
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet uv; }; then
      echo "make_venv.sh: error: install uv or Python 3.11, then try again" >&2
      exit 1
    fi
    uv=$tools/bin/uv
  fi
  if ! "$uv" venv --clear --seed --python 3.11 "$venv"; then
    echo "make_venv.sh: error: uv could not bring Python 3.11; install Python 3.10" \
      "or 3.11, or name one: PYTHON=/path/to/python3.11" >&2
    exit 1
  fi
fi
echo "Installing requirements.txt (about 2 GB, mostly TensorFlow)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --requirement requirements.txt --constraint constraints.txt
