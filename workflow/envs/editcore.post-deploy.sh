#!/usr/bin/env bash
# Installs editcore, its plugins and their pinned dependencies into the new environment; runs in the
# folder where `snakemake` was called, which is the repository's root.
set -euo pipefail
python -m pip install -r requirements.lock
python -m pip install --no-deps --no-build-isolation -e . $(printf -- '-e %s ' plugins/*/)
