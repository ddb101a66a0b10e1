#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every libFuzzer target of build/fuzz for a while, from its committed seeds; two at a time.

  run.py [--seconds N] [--only NAME]

A target passes when it finds nothing. New inputs stay in build/fuzz-corpus/NAME and are used again.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def targets():
    for path in sorted((ROOT / "build" / "fuzz").rglob("*_fuzz")):
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def fuzz(binary, seconds):
    name = binary.name
    grown = ROOT / "build" / "fuzz-corpus" / name
    grown.mkdir(parents=True, exist_ok=True)
    seeds = [str(p) for p in ROOT.glob(f"*/**/corpus/{name}") if p.is_dir() and "build" not in p.parts]
    crashes = ROOT / "build" / "fuzz-crashes"
    crashes.mkdir(exist_ok=True)
    run = subprocess.run(
        [str(binary), f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1",
         f"-artifact_prefix={crashes}/{name}-", str(grown), *seeds],
        capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    speed = re.search(r"stat::average_exec_per_sec:\s*(\d+)", run.stderr)
    ok = run.returncode == 0 and executed is not None
    detail = f"{executed.group(1)} inputs, {speed.group(1)} a second, {len(seeds)} seed folders" if ok else run.stderr[-3000:]
    return name, ok, detail


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        chosen = [t for t in targets() if options.only in t.name]
        for name, ok, detail in pool.map(lambda t: fuzz(t, options.seconds), chosen):
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {detail}", flush=True)
            passed += ok
            failed += not ok
    if passed + failed == 0:
        print("no fuzz target was built")
        failed = 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
