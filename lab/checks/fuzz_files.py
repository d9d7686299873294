"""Give structured mutants of small models to LastBit until something other than its own errors comes out.

    python -m lab check files --count 1000000 [--seed 1] [--keep FOLDER]

Each mutant is loaded, inspected (--inspect-every), prepared for four runtimes and run. A file on which anything but a
LastBitError comes out, or a NumPy warning, is written to the folder; the exit status counts such files (at most 100).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import sys
import time
import traceback
import warnings
from pathlib import Path

from lab.cases.mutants import Mutants, exercise

# Bytes: a small model that takes more asks for what its file does not justify.
_MEMORY = 3 << 30
# Seconds of the processor's time for one small file.
_SLOW = 2.0


def main() -> int:
    """Run, print what came out, return how many files failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--inspect-every", type=int, default=1, metavar="N", help="inspect every Nth; it takes longest")
    parser.add_argument("--wide", action="store_true", help="inspect in every runtime, and the fast engine too")
    parser.add_argument("--keep", type=Path, default=Path("fuzz_failures"))
    given = parser.parse_args()
    warnings.simplefilter("error")
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    outcomes: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    for number, content in enumerate(itertools.islice(Mutants(given.seed), given.count)):
        before = time.process_time()
        try:
            shown = number % given.inspect_every == 0
            outcomes[exercise(content, shown=shown, wide=given.wide)] += 1
            if time.process_time() - before > _SLOW:
                raise TimeoutError(f"took {time.process_time() - before:.1f} s")
        except Exception as error:  # whatever it is, it is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__}: {error} at {Path(last.filename).name}:{last.lineno}"[:200]
            if not outcomes[place]:
                given.keep.mkdir(exist_ok=True)
                (given.keep / f"{given.seed}_{number}.tflite").write_bytes(content)
                print(f"{number}: {place}", flush=True)
            outcomes[place] += 1
        if time.monotonic() - started > given.seconds:
            break
    took = time.monotonic() - started
    for what, count in outcomes.most_common():
        print(f"{count:9} {what}")
    print(f"{sum(outcomes.values())} mutants in {took:.0f} s")
    return min(sum(count for what, count in outcomes.items() if what not in ("ran", "opened", "unreadable")), 100)


if __name__ == "__main__":
    sys.exit(main())
