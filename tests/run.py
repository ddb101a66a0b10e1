#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every test of the project, step by step, and one closing line: N passed, N failed, N skipped.

A step is a command. It passes or fails by its exit code; a step that ends with a line of the form
"N passed, N failed, N skipped" of its own, or that is ctest, counts as many. Output goes to
build/test-logs/STEP.log; what failed is shown. A skip names its reason.

--again is for machines that nobody watches: what failed is run once more. What passes then is
counted as passed, and named as unsteady before the closing line, with what its failure said above it.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "test-logs"
SUMMARY = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
CTEST = re.compile(r"^(\d+)% tests passed, (\d+) tests failed out of (\d+)", re.M)

WAITING = {"prometheus"}  # steps that need the release build alone, and hardly a processor


class Totals:
    passed = failed = skipped = 0
    unsteady = []


def count(output, code):
    """(passed, failed, skipped) of a step's output and exit code."""
    own = SUMMARY.findall(output)
    ctest = CTEST.findall(output)
    if own:
        passed, failed, skipped = (int(n or 0) for n in own[-1])
    elif ctest:
        passed = sum(int(total) - int(failed) for _, failed, total in ctest)
        failed = sum(int(failed) for _, failed, _ in ctest)
        skipped = 0
    else:
        passed, failed, skipped = (1, 0, 0) if code == 0 else (0, 1, 0)
    if code != 0 and failed == 0:
        failed = 1
    return passed, failed, skipped


def attempt(name, command, env, timeout):
    """Run a command: its output, and what it counted."""
    log = LOGS / f"{name}.log"
    with open(log, "wb") as out:
        try:
            code = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, stdout=out,
                                  stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            code = 124
            out.write(f"\ntimed out after {timeout} s\n".encode())
    output = log.read_text(errors="replace")
    return output, count(output, code)


def show_tail(output):
    print("\n".join("   | " + line for line in output.splitlines()[-80:]), flush=True)


class Beside(threading.Thread):
    """A step that mostly waits, begun early: it runs beside others, and its turn takes what is left of it."""

    def __init__(self, *step):
        super().__init__(daemon=True)
        self.step = step
        self.start()

    def run(self):
        self.said = attempt(*self.step)

    def result(self):
        self.join()
        return self.said


def run(name, command, env, timeout, again=False, beside=None):
    print(f"-- {name} ... ", end="", flush=True)
    start = time.monotonic()
    output, (passed, failed, skipped) = beside.result() if beside else attempt(name, command, env, timeout)
    if failed and again:
        print(f"{failed} failed, once more ... ", flush=True)
        show_tail(output)
        repeat = [*command, "--rerun-failed"] if command[0] == "ctest" else command
        output, (passed_now, failed_now, skipped_now) = attempt(f"{name}-again", repeat, env, timeout)
        if failed_now == 0:
            Totals.unsteady.append(f"{name}: {failed} failed first and passed when run again")
        if command[0] == "ctest":
            passed, failed = passed + passed_now, failed_now
        else:
            passed, failed, skipped = passed_now, failed_now, skipped_now
    Totals.passed += passed
    Totals.failed += failed
    Totals.skipped += skipped
    print(f"{passed} passed, {failed} failed, {skipped} skipped in {time.monotonic() - start:.0f} s",
          flush=True)
    for line in output.splitlines():
        if line.startswith("skip:") or line.startswith("SKIP "):
            print("   " + line)
    if failed:
        show_tail(output)
    return failed == 0


def skip(name, reason):
    Totals.skipped += 1
    print(f"-- {name} ... skipped: {reason}", flush=True)


def preset(name):
    """Configure and build a preset."""
    build = f"cmake --preset {name} -DCMAKE_C_COMPILER_LAUNCHER={shutil.which('ccache') or ''} >/dev/null"
    return ["bash", "-c", f"set -e; {build}; cmake --build --preset {name} -- --quiet"]


def ctest(name, *options):
    return ["ctest", "--test-dir", f"build/{name}", "--output-on-failure", "-j2", *options]


def steps(long):
    scale = {"SPINDLE_TEST_ROUNDS": "2000", "SPINDLE_CRASH_KILLS": "2000", "SPINDLE_CRASH_ROUNDS": "40", "SPINDLE_POWER_CUTS": "10000",
             "SPINDLE_SUITE_SEEDS": "200", "SPINDLE_FLIPS": "5000", "SPINDLE_DIFFERENTIAL": "1000000"} if long else {}
    asan = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    tsan = {"TSAN_OPTIONS": "second_deadlock_stack=1 halt_on_error=1"}
    # Sanitizer builds are several times slower: they run the randomised suites with fewer rounds.
    quick = {"SPINDLE_TEST_ROUNDS": "20", "SPINDLE_CRASH_KILLS": "20", "SPINDLE_POWER_CUTS": "150", "SPINDLE_SUITE_SEEDS": "2",
             "SPINDLE_FLIPS": "10", "SPINDLE_FAULT_ALLOCATIONS": "100"}
    slow = ["--timeout", "86400"] if long else []
    yield "structure", ["python3", "tests/structure/check.py"], {}, 120
    yield "build-dev", preset("dev"), {}, 1200
    yield "unit-dev", ctest("dev", *slow), scale, 86400 if long else 1800
    yield "build-clang", preset("clang"), {}, 1200
    yield "build-asan", preset("asan"), {}, 1200
    yield "unit-asan", ctest("asan", *slow), {**scale, **asan, **({} if long else quick)}, 3600
    yield "build-tsan", preset("tsan"), {}, 1200
    yield "unit-tsan", ctest("tsan", *slow), {**scale, **tsan, **({} if long else quick)}, 3600
    # Of this the steps below run two programs; tests beside their modules run in the builds above.
    yield "build-release", ["sh", "-c", "scripts/build && cmake --build build/release --target stages"], {}, 1200
    yield "build-fuzz", preset("fuzz"), {}, 1200
    yield "fuzz", ["python3", "tests/fuzz/run.py", "--seconds", "3600" if long else "60"], {}, 90000
    for script in sorted((ROOT / "tests").glob("*/step.py")):
        name = script.parent.name
        yield name, ["python3", str(script.relative_to(ROOT))] + (["--long"] if long else []), scale, 4 * 3600 if long else 7200


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="the long runs, hours")
    parser.add_argument("--again", action="store_true", help="run what failed once more")
    parser.add_argument("--only", default="", help="these steps alone, comma-separated")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    LOGS.mkdir(parents=True, exist_ok=True)
    broken, beside = set(), {}
    for name, command, env, timeout in steps(options.long):
        if options.list:
            print(name)
            continue
        if only and name not in only:
            continue
        kind = name.split("-", 1)[-1]
        if name.startswith("unit-") and kind in broken:
            skip(name, f"build-{kind} failed")
            continue
        if not run(name, command, env, timeout, options.again, beside.get(name)) and name.startswith("build-"):
            broken.add(kind)
        if name == "build-release" and kind not in broken:
            beside = {step[0]: Beside(*step) for step in steps(options.long) if step[0] in WAITING and (not only or step[0] in only)}
    for line in Totals.unsteady:
        print(f"unsteady: {line}")
    if not options.list:
        print(f"{Totals.passed} passed, {Totals.failed} failed, {Totals.skipped} skipped")
    return 1 if Totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
