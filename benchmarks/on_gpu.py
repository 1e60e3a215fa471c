"""All benchmarks of the GPU column, one after the other; each as a command of its own, as its head says.

What each printed is written to NAME.json below `--out` as soon as it has ended, so that a machine that goes away costs
only what had not ended; a file that is there is not made again. Needs a CUDA device, `featherbench[peft]` and the data of
E2E (`FEATHERBENCH_DATA`, or a network). Rows are as in docs/results/speed.

  python benchmarks/on_gpu.py --out results/gpu
  python benchmarks/on_gpu.py --out results/gpu --only pack decoding
  python benchmarks/on_gpu.py --out results/gpu --list
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

ROWS = {
    "equality": "packing.py --device cuda --slots 2 8 32 --repeats 0",
    "pack": "packing.py --device cuda --slots --backbone smollm2-135m --packs 8 32 --train-precision bfloat16",
    "grid": "grid.py --device cuda --at-once 1 4 8",
    "frozen": "frozen.py --device cuda --precision bfloat16 --pairs 400",
    "decoding": "decoding.py --backbone smollm2-135m --steps 20 --items 630 --batch-sizes 64 210 630",
    "overhead": "overhead.py",
}
"""What is measured -> how: packed = alone; packed steps beside peft's and the share of the bf16 peak; trials an hour; kept
frozen work; beam search; a finished plan again"""


def main() -> None:
    """Run what is asked for and not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", required=True, type=Path, help="Folder for the results")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="Rows (default: all)")
    parser.add_argument("--list", action="store_true", help="Print the commands and run nothing")
    options = parser.parse_args()
    commands = {name: [sys.executable, *_in_this_folder(ROWS[name])] for name in options.only}
    if options.list:
        print("\n".join(f"{name}: {' '.join(command)}" for name, command in commands.items()))
        return
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here; `make benchmarks` runs what a CPU can show.")
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, command in commands.items():
        file = options.out / f"{name}.json"
        if file.exists():
            print(f"{name}: {file} is there", file=sys.stderr)
            continue
        print(f"{name}: {' '.join(command)}", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            failed.append(name)
            continue
        json.loads(done.stdout)
        file.write_text(done.stdout, encoding="utf-8")
    if failed:
        sys.exit(f"failed, see above: {', '.join(failed)}. The same command runs them again.")


def _in_this_folder(command: str) -> list[str]:
    script, *options = command.split()
    return [str(Path(__file__).with_name(script)), *options]


if __name__ == "__main__":
    main()
