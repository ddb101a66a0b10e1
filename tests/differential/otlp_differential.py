#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our OTLP walk, rewriter and JSON writer against Python's protobuf runtime.

usage: otlp_differential.py <otlp_canon> [count] [seed]

otlp_canon generates messages, half of them broken, and says what we make of each. Here Python parses the
same bytes with the messages of the PyPI package opentelemetry-proto: the verdict must be the same, the
canonical bytes must mean what the original means, and the OTLP/JSON must be what OTLP's mapping gives.

Where the two differ on purpose:
  P1  a string that is not UTF-8: we accept and count it, Python refuses the message
  P2  the two indices meant for profiles: known to Python, unknown to us
  P3  rejected items, dropped links, removed IDs: our rules; only canonical bytes and JSON are compared
  P4  more than 64 nested groups (Python: 100)"""

import base64
import json
import math
import struct
import subprocess
import sys

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CLASSES = {ord("t"): ExportTraceServiceRequest, ord("l"): ExportLogsServiceRequest}
IDS = {"trace_id", "span_id", "parent_span_id"}


def split_messages(data):
    at, messages = 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        messages.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return messages


def split_answers(data, count):
    at = 0
    for _ in range(count):
        verdict, rewrite, rejected, warnings, size = struct.unpack_from("<BBIII", data, at)
        at += 14
        canonical = data[at : at + size]
        at += size
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        yield verdict, rewrite, rejected, warnings, canonical, data[at : at + size]
        at += size
    assert at == len(data)


def has_profile_index(message):
    for field, value in message.ListFields():
        if field.name in ("string_value_strindex", "key_strindex"):
            return True
        if field.message_type is not None:
            values = value if field.is_repeated else [value]
            if any(has_profile_index(v) for v in values):
                return True
    return False


def scalar_json(field, value):
    kind = field.type
    if kind in (field.TYPE_INT64, field.TYPE_UINT64, field.TYPE_FIXED64):
        return str(value)
    if kind == field.TYPE_BYTES:
        return value.hex() if field.name in IDS else base64.b64encode(value).decode()
    if kind == field.TYPE_DOUBLE:
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
    return value


def otlp_json(message):
    """The mapping of the OTLP specification, from Python's descriptors."""
    out = {}
    for field, value in message.ListFields():
        name = field.camelcase_name
        if field.is_repeated:
            out[name] = [
                otlp_json(v) if field.message_type is not None else scalar_json(field, v) for v in value
            ]
        elif field.message_type is not None:
            out[name] = otlp_json(value)
        else:
            out[name] = scalar_json(field, value)
    return out


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 120000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 20260203
    tally = dict.fromkeys(
        ["accepted", "refused", "values", "json", "P1 not UTF-8", "P2 profile index",
         "P3 rejected or dropped", "wrong"], 0)
    batch = 20000
    for first in range(0, count, batch):
        generated = subprocess.run(
            [program, "generate", str(seed + first), str(min(batch, count - first))],
            stdout=subprocess.PIPE, check=True).stdout
        messages = split_messages(generated)
        answers = subprocess.run(
            [program, "filter"], input=generated, stdout=subprocess.PIPE, check=True).stdout
        for message, answer in zip(messages, split_answers(answers, len(messages))):
            compare(message, answer, tally)
    print(f"otlp_differential: seed {seed}, {count} messages: "
          + ", ".join(f"{v} {k}" for k, v in tally.items()))
    if tally["values"] < count // 4 or tally["json"] < count // 4 or tally["refused"] < count // 20:
        sys.exit("too little was compared")
    sys.exit(1 if tally["wrong"] else 0)


def wrong(tally, what, message):
    tally["wrong"] += 1
    if tally["wrong"] <= 5:
        print(f"{what}: {message.hex()}")


def compare(message, answer, tally):
    verdict, _, rejected, warnings, canonical, text = answer
    parse = CLASSES[message[0]].FromString
    body = bytes(message[1:])
    try:
        theirs, refusal = parse(body), None
    except DecodeError as e:
        theirs, refusal = None, str(e)
    if verdict != 0:
        tally["refused"] += 1
        if theirs is not None:
            wrong(tally, f"we refuse ({verdict}), Python accepts", message)
        return
    tally["accepted"] += 1
    if theirs is None:
        if "UTF-8" in refusal and (warnings or rejected):
            tally["P1 not UTF-8"] += 1
        else:
            wrong(tally, f"Python refuses ({refusal}), we accept", message)
        return
    ours = parse(bytes(canonical))
    if rejected or warnings:
        tally["P3 rejected or dropped"] += 1
    else:
        theirs.DiscardUnknownFields()
        tally["values"] += 1
        if ours.SerializeToString(deterministic=True) != theirs.SerializeToString(deterministic=True):
            if has_profile_index(theirs):
                tally["P2 profile index"] += 1
            else:
                wrong(tally, "other values", message)
            return
    tally["json"] += 1
    if json.loads(text) != otlp_json(ours):  # 1 and 1.0 are equal here, as they are in JSON
        wrong(tally, "other JSON", message)


if __name__ == "__main__":
    main()
