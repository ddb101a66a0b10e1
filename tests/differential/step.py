#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our reading of OTLP against two other runtimes, over more than a million messages; and our .proto files
against the published ones.

  step.py [--long] [--seed N]     ten times as many messages with --long
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, venv  # noqa: E402

PROTO = ROOT / "build" / "dev" / "proto"
WITH_PYTHON, WITH_PROTOBUF_C = 150_000, 900_000
# A wrapper of otlp_canon whose canonical bytes have one bit turned in the last byte of some messages.
LIAR = """#!/usr/bin/env python3
import struct, subprocess, sys
out = subprocess.run([{canon!r}, *sys.argv[1:]], stdin=sys.stdin, stdout=subprocess.PIPE, check=True).stdout
if sys.argv[1] == "filter":
    out, at, number = bytearray(out), 0, 0
    while at < len(out):
        number += 1
        (size,) = struct.unpack_from("<I", out, at + 10)
        if size and number % 100 == 0:
            out[at + 14 + size - 1] ^= 1
        at += 14 + size
        at += 4 + struct.unpack_from("<I", out, at)[0]
sys.stdout.buffer.write(out)
"""


def run(command, **environment):
    done = subprocess.run([str(c) for c in command], env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1][:600] if lines else "it said nothing"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=20260203)
    options = parser.parse_args()
    times = 10 if options.long else 1
    python = venv("differential", HERE / "requirements.txt")
    report = Report()
    code, text = run(["cmake", "--build", ROOT / "build" / "dev", "--target", "otlp_canon", "differential_test", "--", "--quiet"])
    report.check("otlp_canon and differential_test are built", code == 0, text[-600:].strip() or "from build/dev")

    code, text = run([python, HERE / "check_protos.py", ROOT / "proto" / "messages"])
    report.check(".proto files against the published descriptors", code == 0 and "not installed: none" in text, text[-600:].strip())

    # The one with protobuf-c takes one core, the one with Python the other.
    with_c = subprocess.Popen([str(PROTO / "differential_test")], env={**os.environ, "SPINDLE_DIFFERENTIAL": str(WITH_PROTOBUF_C * times)},
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    code, text = run([python, HERE / "otlp_differential.py", PROTO / "otlp_canon", WITH_PYTHON * times, options.seed])
    report.check("the walk, the rewriter and the JSON writer against Python's protobuf", code == 0, last_line(text))
    compared = sum(int(n) for n in re.findall(r"(\d+) messages", text)[-1:])
    text, _ = with_c.communicate()
    said = next((line for line in text.splitlines() if line.startswith("seed ")), last_line(text))
    report.check("the walk against protobuf-c", with_c.returncode == 0, said)
    compared += sum(int(n) for n in re.findall(r"(\d+) messages", said)[:1])
    report.check("a million messages and more were compared", compared >= 1_000_000, f"{compared} messages")

    with tempfile.TemporaryDirectory() as scratch:
        liar = pathlib.Path(scratch) / "liar"
        liar.write_text(LIAR.format(canon=str(PROTO / "otlp_canon")))
        liar.chmod(0o700)
        code, text = run([python, HERE / "otlp_differential.py", liar, 20_000, options.seed])
        wrong = re.findall(r"([1-9]\d*) wrong", text) or re.findall(r"DecodeError", text)
        report.check("control: a bit turned in one of a hundred messages is noticed", code != 0 and bool(wrong), last_line(text))
        # And of the .proto files: a field with another number.
        for source in (ROOT / "proto" / "messages").glob("*.proto"):
            changed = source.read_text()
            if source.name == "otlp_trace.proto":
                changed = re.sub(r"(dropped_links_count\s*=\s*)\d+", r"\g<1>99", changed)
            (pathlib.Path(scratch) / source.name).write_text(changed)
        code, text = run([python, HERE / "check_protos.py", scratch])
        report.check("control: a field's other number is noticed", code != 0 and "dropped_links_count" in text, last_line(text))
    report.end()


if __name__ == "__main__":
    main()
