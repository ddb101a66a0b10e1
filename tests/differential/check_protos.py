#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our .proto files against the descriptors of the PyPI package opentelemetry-proto, field by field.

usage: check_protos.py [proto/messages]

Every field there must be here with the same number, type, label and oneof, and the other way round; every
enumerator must have the same number. What we leave out on purpose stands in EXPECTED. google.rpc and
grpc.health are compared where the packages googleapis-common-protos and grpcio-health-checking are there.
Needs opentelemetry-proto, protobuf and grpcio-tools (or protoc on the path)."""

import importlib
import os
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

# Not in ours: two indices meant for profiles.
EXPECTED_MISSING = {
    "opentelemetry.proto.common.v1.AnyValue.string_value_strindex",
    "opentelemetry.proto.common.v1.KeyValue.key_strindex",
}
THEIRS = [
    ("opentelemetry.proto.common.v1.common_pb2", "otlp_common.proto"),
    ("opentelemetry.proto.resource.v1.resource_pb2", "otlp_resource.proto"),
    ("opentelemetry.proto.trace.v1.trace_pb2", "otlp_trace.proto"),
    ("opentelemetry.proto.logs.v1.logs_pb2", "otlp_logs.proto"),
    ("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "otlp_trace_service.proto"),
    ("opentelemetry.proto.collector.logs.v1.logs_service_pb2", "otlp_logs_service.proto"),
    ("google.protobuf.any_pb2", "google_protobuf.proto"),
    ("google.protobuf.duration_pb2", "google_protobuf.proto"),
    ("google.rpc.status_pb2", "google_rpc.proto"),
    ("google.rpc.error_details_pb2", "google_rpc.proto"),
    ("grpc_health.v1.health_pb2", "grpc_health.proto"),
]
# Of these files we define a few messages only.
PARTIAL = {"google.rpc.error_details_pb2"}


def compile_ours(directory):
    names = sorted(n for n in os.listdir(directory) if n.endswith(".proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "all.bin")
        arguments = [f"-I{directory}", f"--descriptor_set_out={out}"] + names
        try:
            from grpc_tools import protoc

            code = protoc.main(["protoc"] + arguments)
        except ImportError:
            code = subprocess.run(["protoc"] + arguments).returncode
        if code != 0:
            sys.exit("our .proto files do not compile")
        with open(out, "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read())


def facts_of(file):
    """{full name: facts} of all fields, enumerators and methods of a FileDescriptorProto."""
    facts = {}

    def enum(prefix, e):
        for v in e.value:
            facts[f"{prefix}.{e.name}.{v.name}"] = ("enumerator", v.number)

    def message(prefix, m):
        name = f"{prefix}.{m.name}"
        facts[name] = ("message",)
        for f in m.field:
            oneof = m.oneof_decl[f.oneof_index].name if f.HasField("oneof_index") else None
            facts[f"{name}.{f.name}"] = (
                "field", f.number, f.type, f.label, f.type_name.lstrip("."), oneof, f.proto3_optional)
        for e in m.enum_type:
            enum(name, e)
        for n in m.nested_type:
            message(name, n)

    for m in file.message_type:
        message(file.package, m)
    for e in file.enum_type:
        enum(file.package, e)
    for s in file.service:
        for r in s.method:
            facts[f"{file.package}.{s.name}.{r.name}"] = (
                "method", r.input_type.lstrip("."), r.output_type.lstrip("."), r.client_streaming,
                r.server_streaming)
    return facts


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../../proto/messages")
    ours = {f.name: facts_of(f) for f in compile_ours(directory).file}
    compared, wrong, absent = 0, [], []
    met = {name: set() for name in ours}
    for module_name, our_file in THEIRS:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            absent.append(module_name)
            met[our_file] = None
            continue
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for name, fact in facts_of(file).items():
            if name in ours[our_file]:
                compared += 1
                if met[our_file] is not None:
                    met[our_file].add(name)
                if ours[our_file][name] != fact:
                    wrong.append(f"{name}: ours {ours[our_file][name]}, theirs {fact}")
            elif name not in EXPECTED_MISSING and module_name not in PARTIAL:
                wrong.append(f"{name}: missing in ours")
    for our_file, names in met.items():
        if names is not None:
            wrong += [f"{n}: only in ours" for n in ours[our_file] if n not in names]
    for line in wrong:
        print(line)
    print(f"check_protos: {compared} names compared, {len(wrong)} differences, "
          f"not installed: {', '.join(absent) or 'none'}")
    if compared < 150:
        sys.exit("too little was compared")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
