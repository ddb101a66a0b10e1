#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stock OpenTelemetry SDKs send to a real server; what the query API returns is compared field by field
with what each SDK says it sent, and each client's way with a refusal is shown.

A client is a program that sends and prints {"client", "spans", "logs"}. Values are OTLP/JSON's.
"""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, Server, venv  # noqa: E402

BUILD = ROOT / "build" / "clients"


def value(v):
    """An AnyValue as the clients write it: arrays and maps without their wrappers."""
    if "arrayValue" in v:
        return {"arrayValue": [value(i) for i in v["arrayValue"].get("values", [])]}
    if "kvlistValue" in v:
        return {"kvlistValue": attributes(v["kvlistValue"].get("values", []))}
    return v


def attributes(pairs):
    mapping = {p["key"]: value(p.get("value", {})) for p in pairs or []}
    assert len(mapping) == len(pairs or []), f"duplicate keys in {pairs}"
    return mapping


def flatten(data, groups, scopes, items):
    for group in data.get(groups, []):
        for scope_group in group.get(scopes, []):
            for item in scope_group.get(items, []):
                yield group, scope_group, item


def common(group, scope_group, item):
    scope = scope_group.get("scope", {})
    return {
        "attributes": attributes(item.get("attributes")),
        "scope": {"name": scope.get("name", ""), "version": scope.get("version", ""),
                  "attributes": attributes(scope.get("attributes"))},
        "resource": attributes(group.get("resource", {}).get("attributes")),
    }


def stored_span(group, scope_group, span):
    return {
        **common(group, scope_group, span),
        **{k: span.get(k, "") for k in ("traceId", "spanId", "parentSpanId", "traceState", "name",
                                        "startTimeUnixNano", "endTimeUnixNano")},
        "kind": span.get("kind", 0),
        "events": [{"timeUnixNano": e.get("timeUnixNano", "0"), "name": e.get("name", ""),
                    "attributes": attributes(e.get("attributes"))} for e in span.get("events", [])],
        "links": [{"traceId": l["traceId"], "spanId": l["spanId"], "traceState": l.get("traceState", ""),
                   "attributes": attributes(l.get("attributes"))} for l in span.get("links", [])],
        "status": {"code": span.get("status", {}).get("code", 0), "message": span.get("status", {}).get("message", "")},
        "droppedAttributesCount": span.get("droppedAttributesCount", 0),
        "droppedEventsCount": span.get("droppedEventsCount", 0),
        "droppedLinksCount": span.get("droppedLinksCount", 0),
        "schemaUrl": scope_group.get("schemaUrl", ""),
    }


def stored_log(group, scope_group, log):
    return {
        **common(group, scope_group, log),
        "timeUnixNano": log.get("timeUnixNano", "0"),
        "observedTimeUnixNano": log.get("observedTimeUnixNano", "0"),
        "severityNumber": log.get("severityNumber", 0),
        "severityText": log.get("severityText", ""),
        "body": value(log.get("body", {})),
        "eventName": log.get("eventName", ""),
        "traceId": log.get("traceId", ""),
        "spanId": log.get("spanId", ""),
    }


def differences(expected, got, path=""):
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            if key not in expected or key not in got:
                yield f"{path}.{key}: {'not returned' if key in expected else 'not sent'}"
            else:
                yield from differences(expected[key], got[key], f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for i, (e, g) in enumerate(zip(expected, got)):
            yield from differences(e, g, f"{path}[{i}]")
    elif expected != got or repr(expected) != repr(got) and not isinstance(expected, (int, float)):
        yield f"{path}: sent {expected!r}, got {got!r}"


def compare(report, server, sent):
    name = sent["client"]
    fields = 0
    problems = []
    spans = {}
    for trace_id in {s["traceId"] for s in sent["spans"]}:
        data = server.json(f"/api/spindle/v1/trace/{trace_id}")
        for parts in flatten(data, "resourceSpans", "scopeSpans", "spans"):
            span = stored_span(*parts)
            assert span["spanId"] not in spans, f"span {span['spanId']} came twice"
            spans[span["spanId"]] = span
    for expected in sent["spans"]:
        got = spans.pop(expected["spanId"], None)
        if got is None:
            problems.append(f"span {expected['name']!r} was not found")
            continue
        fields += len(json.dumps(expected))
        problems += [f"span {expected['name']!r}{d}" for d in differences(expected, got)]
    problems += [f"a span that was not sent: {s['name']!r}" for s in spans.values()]

    service = sent["logs"][0]["resource"]["service.name"]["stringValue"]
    query = urllib.parse.urlencode({"limit": 1000, "from": "0", "q": f'{{ resource.service.name = "{service}" }}'})
    logs = [stored_log({"resource": row["resource"]}, {"scope": row["scope"]}, row["log"])
            for row in server.json("/api/spindle/v1/logs?" + query)["rows"]]
    key = lambda log: (log["timeUnixNano"], log["observedTimeUnixNano"])  # noqa: E731
    for expected, got in zip(sorted(sent["logs"], key=key), sorted(logs, key=key)):
        fields += len(json.dumps(expected))
        problems += [f"log {expected['observedTimeUnixNano']}{d}" for d in differences(expected, got)]
    if len(logs) != len(sent["logs"]):
        problems.append(f"{len(sent['logs'])} log records were sent, {len(logs)} came back")
    report.check(name, not problems, "; ".join(problems[:8]) or
                 f"{len(sent['spans'])} spans, {len(sent['logs'])} log records, {fields} bytes of fields equal")


def python_client():
    python = venv("clients", HERE / "python" / "requirements.txt")
    return lambda protocol: [str(python), str(HERE / "python" / "client.py"), protocol]


def node_client():
    folder = BUILD / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(HERE / "node" / file, folder)
    subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=folder, check=True)
    return lambda protocol: ["node", str(folder / "client.js"), protocol]


def go_client():
    folder = BUILD / "go"
    shutil.copytree(HERE / "go", folder, dirs_exist_ok=True)
    subprocess.run(["go", "build", "-o", "client", "."], cwd=folder, check=True)
    return lambda protocol: [str(folder / "client"), protocol]


def java_client():
    folder = BUILD / "java"
    shutil.copytree(HERE / "java", folder, dirs_exist_ok=True)
    subprocess.run(["mvn", "-q", "-B", "-Dstyle.color=never", "package"], cwd=folder, check=True)
    return lambda protocol: ["java", "-jar", str(folder / "target" / "client.jar"), protocol]


def rust_client():
    folder = BUILD / "rust"
    shutil.copytree(HERE / "rust", folder, dirs_exist_ok=True)
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked"], cwd=folder, check=True)
    return lambda protocol: [str(folder / "target" / "release" / "client"), protocol]


# Language, how to build it, the program it needs and the oldest version that will do, its protocols, and
# whether the SDK sends again what was refused once with 503 or UNAVAILABLE.
CLIENTS = [
    ("python", python_client, "python3", {"grpc": True, "http": True}),
    ("node", node_client, "npm", {"grpc": False, "proto": True, "json": True}),
    ("go", go_client, "go", {"grpc": True, "http": True}),
    ("java", java_client, "mvn", {"grpc": True, "http": True}),
    ("rust", rust_client, "cargo", {"grpc": True, "http": True}),
]
GO_MINIMUM = (1, 26)


def missing(language, tool):
    """Why this client cannot be built here, or None."""
    if not (HERE / language).is_dir():
        return "no client"
    if shutil.which(tool) is None:
        return f"{tool} is not installed"
    if language == "go":
        text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
        version = tuple(int(n) for n in text.strip().removeprefix("go").split(".")[:2])
        if version < GO_MINIMUM:
            return f"the SDK wants Go {'.'.join(map(str, GO_MINIMUM))}, this is {text.strip()}"
    return None


def send(command, server, protocol):
    endpoint = server.grpc if protocol == "grpc" else server.otlp
    if protocol == "grpc":
        endpoint = "http://" + endpoint
    run = subprocess.run([*command, endpoint], capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        raise RuntimeError(f"exit code {run.returncode}: {run.stderr[-1500:]}")
    return json.loads(run.stdout)


def main():
    report = Report()
    BUILD.mkdir(parents=True, exist_ok=True)
    for language, build, tool, protocols in CLIENTS:
        why = missing(language, tool)
        if why:
            report.skip(language, why)
            continue
        try:
            command = build()
        except subprocess.CalledProcessError as error:
            report.check(language, False, f"the client did not build: {error}")
            continue
        for protocol, retries in protocols.items():
            try:
                with Server() as server:
                    compare(report, server, send(command(protocol), server, protocol))
                with Server("dev", env={"SPINDLE_DEFECT": "refuse-first"}) as server:
                    sent = send(command(protocol), server, protocol)
                    found = sum(server.get(f"/api/spindle/v1/trace/{t}")[0] == 200
                                for t in {s["traceId"] for s in sent["spans"]})
                    came = found == len({s["traceId"] for s in sent["spans"]})
                    report.check(f"{sent['client']}, refused once", came == retries,
                                 ("sent again, all found" if came else "not sent again by this SDK")
                                 + ("" if came == retries else ": not as expected"))
            except Exception as error:  # one client's trouble is not another's
                report.check(f"{language} {protocol}", False, repr(error)[:2000])
    report.end()


if __name__ == "__main__":
    main()
