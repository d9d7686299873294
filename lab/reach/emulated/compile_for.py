"""Run a module with Numba generating code for another kind of machine: check_engine.py --compile, for its cache.

    python lab/reach/emulated/compile_for.py TRIPLE MODULE [ARGUMENTS]

TRIPLE is LLVM's name of the machine, as `llvmlite.binding.get_process_triple()` prints it there; NUMBA_CPU_NAME and
NUMBA_CPU_FEATURES say which CPU. What is compiled cannot be run here.
"""

import runpy
import sys
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite.binding import targets

if len(sys.argv) < 3:
    raise SystemExit("wanted: TRIPLE MODULE [ARGUMENTS]")
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
# Numba asks for both when it makes its first function, so before the script imports anything.
for module in (llvm, targets):
    module.get_process_triple = module.get_default_triple = lambda triple=sys.argv[1]: triple
sys.argv = sys.argv[2:]
sys.path[0] = str(Path.cwd())
runpy.run_module(sys.argv[0], run_name="__main__")
