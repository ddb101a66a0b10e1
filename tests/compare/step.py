#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/compare tells the truth: the same build twice writes the same, as itself and as "another server"; a build that
is told to keep a ballast on the disk is seen to take more. No time is compared: this machine may be busy.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, binary  # noqa: E402

BOTH = ["cpu_s_per_million", "spans_per_s", "rss_peak_mib", "written_bytes_per_span", "disk_bytes_per_span", "ack_p50_ms",
        "ack_p99_ms", "trace_p50_ms", "trace_p99_ms", "trace_cpu_ms", "trace_absent_p50_ms", "search_service_p50_ms"]
SERVE = "serve --data {data} --otlp-grpc 127.0.0.1:{grpc} --otlp-http 127.0.0.1:{http_otlp} --http 127.0.0.1:{http} --disk-ballast 0"


def compare(*options):
    with tempfile.NamedTemporaryFile(prefix="spindle-compare-") as out:
        run = subprocess.run([sys.executable, str(ROOT / "bench" / "compare"), str(binary()), *options, "--spans", "20480", "--rate", "2000",
                              "--rate-s", "1", "--quiet", "0.5", "--ids", "20", "--server-core", "-1", "--load-core", "-1", "--serve-a=--disk-ballast=0",
                              "--directory", str(ROOT / "build"), "--json", out.name], capture_output=True, text=True)
        return run, json.loads(pathlib.Path(out.name).read_text() or "{}")


def main():
    report = Report()
    run, figures = compare("--command-b", f"{binary()} {SERVE}", "--trace-b", "/api/spindle/v1/trace/{id}",
                           "--search-b", "/api/spindle/v1/traces?service=cart&limit=20", "--rounds", "2")
    table = figures.get("table", {})
    if not report.check("it runs", run.returncode == 0 and table, (run.stdout + run.stderr)[-1500:] if run.returncode or not table else ""):
        report.end()
    missing = [name for name in BOTH if name not in table]
    report.check("every quantity of both", not missing, ", ".join(missing))
    odd = [f"{name} {row}" for name, row in table.items()
           if not (row["ratio_min"] <= row["ratio"] <= row["ratio_max"]) or not all(math.isfinite(v) for v in row.values())]
    report.check("ratios lie within their ranges", not odd, "; ".join(odd))
    printed = {line.split()[0] for line in run.stdout.splitlines() if ".." in line}
    report.check("what is printed is what is written", printed == set(table), f"{sorted(printed ^ set(table))}")
    for name in ("written_bytes_per_span", "disk_bytes_per_span"):
        ratio = table[name]["ratio"]
        report.check(f"the same build twice: {name}", 0.5 < ratio < 2, f"{ratio:.3f}")
    run, figures = compare(str(binary()), "--serve-b=--disk-ballast=64MiB", "--rounds", "1")
    ratio = figures.get("table", {}).get("disk_bytes_per_span", {}).get("ratio", 0)
    report.check("control: a ballast is seen", ratio > 1.5, f"disk_bytes_per_span {ratio:.3f}")
    run, _ = compare(str(binary()), "--serve-b=--no-such-option", "--rounds", "1")
    report.check("control: a server that does not start is no result", run.returncode != 0, f"status {run.returncode}")
    report.end()


if __name__ == "__main__":
    main()
