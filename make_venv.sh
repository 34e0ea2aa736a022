#!/usr/bin/env bash
# Makes the virtual environment DIR with Python 3.10 or 3.11, which TensorFlow 2.14
# needs, and installs requirements.txt. Where no such Python is found, uv brings one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${1:?usage: bash make_venv.sh DIR}

fits='import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))'
rm -rf "$venv"
for python in ${PYTHON:-python3.11 python3.10 python3 python}; do
  if command -v "$python" >/dev/null && "$python" -c "$fits" 2>/dev/null; then
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
    break
  fi
done
if [[ ! -x $venv/bin/python ]]; then
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
  "$uv" venv --seed --python 3.11 "$venv"
fi
echo "Installing requirements.txt (about 2 GB, mostly TensorFlow)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  --requirement requirements.txt --constraint constraints.txt
