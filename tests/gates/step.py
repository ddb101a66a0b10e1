#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gates: what each stage of the path costs may not grow unnoticed.

`stages` (bench/stages.h) sends fixed work through each stage, under callgrind. Counted are, for each span,
lookup or search: instructions, allocations, allocated, copied and written bytes, and the bytes that are the
result. None of it is time, so a busy machine changes nothing. Compared is with limits.json: more than the
recorded figure and a margin fails.

  step.py            compare; then put known defects in and see each caught
  step.py --update   record what is counted now, after a change that is meant to cost more, or that costs less
  step.py --show     print only

The figures hold for gcc 12 on x86-64, as in Debian 12; elsewhere the step is skipped.
"""
import argparse
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report  # noqa: E402

LIMITS = HERE / "limits.json"
STAGES = ROOT / "build" / "release" / "bench" / "stages"
MARGIN = 0.10
# What a figure near zero may grow by, a unit: one block in fifty, two bytes.
SLACK = {"instructions": 0, "allocations": 0.02}
SLACK_BYTES = 2
# Of the compiler and the libraries that make the figures what they are.
PACKAGES = ["gcc-12", "libc6", "libdeflate0", "libnghttp2-14", "libsqlite3-0", "libzstd1"]


def instructions(folder):
    """{stage: instructions} from the dumps, one a passage of a stage."""
    out = {}
    for dump in folder.glob("callgrind.out.*"):
        text = dump.read_text(errors="replace")
        trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        total = re.search(r"^totals: (\d+)$", text, re.M)
        if trigger and total:
            out[trigger.group(1)] = out.get(trigger.group(1), 0) + int(total.group(1))
    return out


def count(only=None, defect=None, spans=None, with_instructions=True):
    """{stage: {quantity: a unit}} of one run."""
    with tempfile.TemporaryDirectory(prefix="spindle-gates-") as scratch:
        folder = pathlib.Path(scratch)
        command = [str(STAGES), "--directory", str(folder / "data")]
        command += ["--only", only] if only else []
        command += ["--defect", defect] if defect else []
        command += ["--spans", str(spans)] if spans else []
        if with_instructions:
            command = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no",
                       f"--callgrind-out-file={folder / 'callgrind.out'}"] + command
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {run.returncode}\n{run.stderr[-2000:]}")
        stages = json.loads(run.stdout)
        counted = instructions(folder) if with_instructions else {}
        if with_instructions and set(counted) != set(stages):
            raise RuntimeError(f"callgrind saw {sorted(counted)}, the program {sorted(stages)}; was it built before "
                               "valgrind's headers were there?")
    out = {}
    for stage, sums in stages.items():
        units = sums.pop("units")
        if stage in counted:
            sums = {"instructions": counted[stage], **sums}
        out[stage] = {name: round(value / units, 4) for name, value in sums.items()}
    return out


def excess(limits, counted):
    """What is over its limit, in words; quantities that were not counted are passed over."""
    over = []
    for stage, recorded in limits.items():
        for name, figure in recorded.items():
            limit = figure * (1 + MARGIN) + SLACK.get(name, SLACK_BYTES)
            now = counted.get(stage, {}).get(name, 0)
            if now > limit:
                over.append(f"{stage}: {name} {now:,.2f}, recorded {figure:,.2f}, limit {limit:,.2f}")
    return over


def show(counted, limits):
    for stage, figures in counted.items():
        for name, figure in figures.items():
            recorded = limits.get(stage, {}).get(name, 0)
            ratio = f"{figure / recorded:6.3f} of recorded {recorded:,.2f}" if recorded else ""
            print(f"  {stage:20} {name:16} {figure:16,.2f}   {ratio}")


def packages():
    run = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES], capture_output=True, text=True)
    return dict(line.split() for line in run.stdout.splitlines() if len(line.split()) == 2)


def reason_to_skip():
    if platform.machine() != "x86_64":
        return f"the figures are for x86-64, this is {platform.machine()}"
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    gcc = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True).stdout.strip()
    if gcc.split(".")[0] != "12":
        return f"the figures are for gcc 12, this is {gcc}"
    return None


# Each is seen by another counter: --defect, the part of the work it is in, and the stage and quantity it shows in.
DEFECTS = [
    ("allocation", "decode", "walk", "allocations"),
    ("copy", "receive", "receive", "copied_bytes"),
    ("write", "store", "commit", "written_bytes"),
    ("work", "decode", "check", "instructions"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="record what is counted now")
    parser.add_argument("--show", action="store_true", help="print, and compare with nothing")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    report = Report()
    reason = reason_to_skip()
    if reason and not options.show:
        report.skip("gates", reason)
        report.end()
    if not STAGES.exists():
        report.check("stages is built", False, f"{STAGES} is missing: cmake --build --preset release")
        report.end()
    recorded = json.loads(LIMITS.read_text()) if LIMITS.exists() else {"stages": {}}
    limits = recorded["stages"]
    counted = count()
    show(counted, limits)
    if options.update:
        LIMITS.write_text(json.dumps({"packages": packages(), "stages": counted}, indent=1) + "\n")
    if options.update or options.show:
        return
    if packages() != recorded.get("packages"):
        print(f"note: recorded with {recorded.get('packages')}, this is {packages()}")
    strange = sorted(set(limits) ^ set(counted))
    report.check("every stage has its limits", not strange, ", ".join(strange))
    over = excess(limits, counted)
    for stage in limits:
        mine = [text for text in over if text.startswith(stage + ": ")]
        report.check(stage, not mine, "; ".join(mine) + ("; meant? step.py --update" if mine else ""))
    for defect, part, stage, quantity in DEFECTS:
        needs_callgrind = quantity == "instructions"
        caught = excess(limits, count(part, defect, 8192 if needs_callgrind else None, needs_callgrind))
        mine = [text for text in caught if text.startswith(f"{stage}: {quantity} ")]
        report.check(f"control: {defect} is caught", bool(mine), mine[0] if mine else f"seen: {caught}")
    report.end()


if __name__ == "__main__":
    main()
