#!/usr/bin/env bash
# What tests of other tool chains need, on Debian and Ubuntu: compilers, emulators, node, a browser; and PyTorch.
#
#     bash lab/tools.sh [PYTHON]
#
# Packages are installed by name, for all users, so it asks for root where it is not. PyTorch (several GB) goes into
# PYTHON's environment, if one is named. CI does not run this: a test whose tool is missing skips and says so. With
# LASTBIT_CI_FULL=1 a skipped test is a failure.
set -euo pipefail

packages=(
  gcc g++ clang                                       # C and C++ that LastBit prints
  gcc-arm-none-eabi libnewlib-arm-none-eabi           # the same for Cortex-M
  qemu-user qemu-system-arm                           # ARM64 wheels; Cortex-M boards
  nodejs chromium fonts-dejavu-core                   # pages, and pictures of them
)
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
"${root[@]}" apt-get update -q
"${root[@]}" apt-get install -y -q --no-install-recommends "${packages[@]}"
if [ $# -gt 0 ]; then
  "$1" -m pip install -q '.[torch]'
fi
