#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Named inputs for otlp_check() and otlp_json_read(), each with what must come out, for otlp_vectors_test.

usage: make_vectors.py > otlp.vectors

A line is: name, signal (traces or logs), form (pb or json), limits (default or small), expectation, payload,
separated by tabs. Expectation: ok, invalid, too_deep or too_many; then, for ok, words: items=N (default 1),
rewrite (the bytes are not canonical), reject:LABEL=N, warn:LABEL=N, unknown=N, out=HEX (the canonical
bytes). What is not named must be 0. Payload: chunks of hex, each perhaps with *N for repetition, separated
by blanks. The expectations are worked out here from the rules, never copied from a run."""

import struct

LINES = []
NAMES = set()
ok = "ok"


def vi(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def tag(f, w):
    return vi(f << 3 | w)


def L(f, b=b""):
    b = b.encode() if isinstance(b, str) else b
    return tag(f, 2) + vi(len(b)) + b


def V(f, n):
    return tag(f, 0) + vi(n & (1 << 64) - 1)


def F64(f, n):
    return tag(f, 1) + struct.pack("<Q", n)


def F32(f, n):
    return tag(f, 5) + struct.pack("<I", n)


def S(s):
    return L(1, s)  # AnyValue.string_value


def kv(k, value=None):
    return L(1, k) + (b"" if value is None else L(2, value))


TID, SID = bytes(range(1, 17)), bytes(range(1, 9))
IDS = L(1, TID) + L(2, SID)


def span_in(inside, resource=b"", scope=b""):
    return L(1, resource + L(2, scope + L(2, inside)))


def span(extra=b""):
    return span_in(IDS + extra)


def log(inside=b""):
    return L(1, L(2, L(2, inside)))


def add(name, payload, expect=ok, signal="traces", form="pb", limits="default", out=None):
    assert name not in NAMES, name
    NAMES.add(name)
    if isinstance(payload, str):
        payload = payload.encode()
    if isinstance(payload, bytes):
        payload = [(payload, 1)]
    chunks = " ".join(p.hex() + (f"*{n}" if n != 1 else "") for p, n in payload if p)
    if out is not None:
        expect += " out=" + out.hex()
    LINES.append("\t".join([name, signal, form, limits, expect, chunks or "-"]))


R = "rewrite"

# ---- Empty and odd ------------------------------------------------------------------------------------
for signal in ("traces", "logs"):
    add(f"empty_body_{signal}", b"", "ok items=0", signal)
    add(f"empty_resource_group_{signal}", L(1), "ok items=0", signal)
    add(f"empty_scope_group_{signal}", L(1, L(2)), "ok items=0", signal)
    add(f"empty_resource_{signal}", L(1, L(1)), "ok items=0", signal)
    add(f"empty_scope_{signal}", L(1, L(2, L(1))), "ok items=0", signal)
    add(f"many_empty_groups_{signal}", [(L(1), 100000)], "ok items=0", signal)
add("empty_span", span_in(b""), f"ok {R} reject:trace_id_length=1")
add("empty_spans_1000", L(1, L(2, L(2) * 1000)), f"ok {R} items=1000 reject:trace_id_length=1000")
add("empty_log", log(), ok, "logs")
add("span_minimal", span())
add("empty_event", span(L(11)))
add("empty_link", span(L(13)))
add("empty_status", span(L(15)))
add("empty_attribute", span(L(9)))
add("attribute_without_value", span(L(9, kv("a"))))
add("attribute_empty_value", span(L(9, kv("a", b""))))
add("attribute_empty_string", span(L(9, kv("a", S("")))))
add("attribute_empty_key", span(L(9, kv("", S("x")))))
add("attribute_duplicate_keys", span(L(9, kv("a", S("1"))) + L(9, kv("a", S("2")))))
add("body_empty_value", log(L(5)), ok, "logs")
add("neighbours_are_kept", L(1, L(2, L(2, IDS) + L(2, L(1, b"x")) + L(2, IDS))),
    f"ok {R} items=3 reject:trace_id_length=1", out=L(1, L(2, L(2, IDS) * 2)))
for b in (0x00, 0x01, 0x07, 0x0A, 0x0B, 0x0C, 0x0E, 0x0F, 0x80, 0xFF):
    add(f"one_byte_{b:02x}", bytes([b]), "invalid")
add("text_as_protobuf", b"hello, collector", "invalid")
add("json_as_protobuf", b'{"resourceSpans":[]}', "invalid")
add("gzip_as_protobuf", bytes.fromhex("1f8b0800000000000003"), "invalid")

# ---- Every cut of one message is refused ------------------------------------------------------------------
WHOLE = span_in(IDS + L(5, "name") + F64(7, 1) + L(9, kv("k", V(3, 300))) + F32(16, 1), L(1, b""))
for n in range(1, len(WHOLE)):
    add(f"cut_at_{n:02d}", WHOLE[:n], "invalid")
add("cut_not_at_all", WHOLE, "ok warn:end_before_start=1")

# ---- Varints, tags, lengths -------------------------------------------------------------------------------
add("varint_10_bytes", span(L(9, kv("a", V(3, -1)))))
add("varint_11_bytes", span(L(9, kv("a", b"\x18" + b"\xff" * 10 + b"\x01"))), "invalid")
add("varint_overflow_dropped", span(L(9, kv("a", b"\x18" + b"\xff" * 9 + b"\x7f"))), f"ok {R}",
    out=span(L(9, kv("a", V(3, -1)))))
add("varint_long_zero", span(L(9, kv("a", b"\x18\x80\x00"))), f"ok {R}", out=span(L(9, kv("a", V(3, 0)))))
add("varint_long_zero_10", span(b"\x30" + b"\x80" * 9 + b"\x00"), f"ok {R}", out=span(V(6, 0)))
add("varint_unending", span(b"\x30" + b"\x80" * 30), "invalid")
add("tag_long", span(b"\xaa\x00\x01x"), f"ok {R}", out=span(L(5, "x")))
add("tag_5_bytes_long", span(b"\xaa\x80\x80\x80\x00\x01x"), f"ok {R}", out=span(L(5, "x")))
add("tag_6_bytes", span(b"\xaa\x80\x80\x80\x80\x00\x01x"), "invalid")
add("tag_over_32_bits", span(b"\xfa\xff\xff\xff\x1f\x00"), "invalid")
add("field_number_max", span(b"\xfa\xff\xff\xff\x0f\x00"), f"ok {R} unknown=1", out=span())
add("field_number_0_varint", span(b"\x00\x01"), "invalid")
add("field_number_0_length", span(b"\x02\x00"), "invalid")
add("field_number_0_long", span(b"\x80\x00\x01"), "invalid")
for w in (6, 7):
    add(f"wire_type_{w}", span(bytes([5 << 3 | w, 0])), "invalid")
add("length_long_form", span(tag(5, 2) + b"\x81\x00x"), f"ok {R}", out=span(L(5, "x")))
add("length_past_end_by_1", span(tag(5, 2) + b"\x02x"), "invalid")
for name, n in (("2_31", 1 << 31), ("2_32_less_1", (1 << 32) - 1), ("2_63", 1 << 63), ("2_64_less_1", (1 << 64) - 1)):
    add(f"length_{name}", span(tag(5, 2) + vi(n)), "invalid")
add("length_past_parent", L(1, L(2, tag(2, 2) + vi(40) + IDS) + L(2, b"")), "invalid")
add("fixed64_short", span(tag(7, 1) + b"\x01" * 7), "invalid")
add("fixed32_short", span(tag(16, 5) + b"\x01" * 3), "invalid")
add("double_short", span(L(9, kv("a", tag(4, 1) + b"\x01" * 7))), "invalid")

# ---- Unknown fields and groups ----------------------------------------------------------------------------
add("unknown_field_17", span(V(17, 1)), f"ok {R} unknown=1", out=span())
add("unknown_deprecated_list", L(1, L(2, L(2, IDS)) + L(1000, L(2, IDS))), f"ok {R} unknown=1", out=span())
add("unknown_index_value", span(L(9, kv("a", V(8, 1)))), f"ok {R} unknown=1", out=span(L(9, kv("a", b""))))
add("unknown_index_key", span(L(9, V(3, 1))), f"ok {R} unknown=1", out=span(L(9)))
add("unknown_status_1", span(L(15, V(1, 2))), f"ok {R} unknown=1", out=span(L(15)))
add("unknown_log_4", log(L(4, "x")), f"ok {R} unknown=1", "logs", out=log())
add("unknown_million", [(V(100, 1), 1000000)], f"ok {R} items=0 unknown=1000000", out=b"")
add("unknown_holds_garbage", span(L(99, b"\xff\xff\xff")), f"ok {R} unknown=1", out=span())
GB, GE = tag(20, 3), tag(20, 4)
add("group_empty", span(GB + GE), f"ok {R} unknown=1", out=span())
add("group_with_fields", span(GB + V(1, 5) + L(2, "x") + F64(3, 1) + F32(4, 1) + GE), f"ok {R} unknown=1", out=span())
add("group_nested_64", span(GB * 64 + GE * 64), f"ok {R} unknown=1", out=span())
add("group_nested_65", span(GB * 65 + GE * 65), "too_deep")
add("group_nested_100000", [(GB, 100000)], "too_deep")
add("group_unended", span(GB + V(1, 5)), "invalid")
add("group_end_alone", span(GE), "invalid")
add("group_end_mismatched", span(GB + tag(21, 4)), "invalid")
add("group_crossed", span(GB + tag(21, 3) + GE + tag(21, 4)), "invalid")
add("group_bad_inside", span(GB + b"\x07" + GE), "invalid")
add("group_number_0_inside", span(GB + b"\x00\x00" + GE), "invalid")
add("group_of_known_number", span(tag(9, 3) + tag(9, 4)), f"ok {R} unknown=1", out=span())
add("group_outermost", GB + GE, f"ok {R} items=0 unknown=1", out=b"")
add("group_in_value", span(L(9, kv("a", tag(5, 3) + tag(5, 4)))), f"ok {R} unknown=1", out=span(L(9, kv("a", b""))))

# ---- Known fields in other wire types are unknown ---------------------------------------------------------
WRONG = {0: lambda f: V(f, 1), 1: lambda f: F64(f, 1), 2: lambda f: L(f, b"\x01"), 5: lambda f: F32(f, 1)}
FIELDS = {
    "span": (lambda x: span(x), "traces", {3: 2, 4: 2, 5: 2, 6: 0, 7: 1, 8: 1, 9: 2, 10: 0, 11: 2, 12: 0, 13: 2, 14: 0, 15: 2, 16: 5}),
    "event": (lambda x: span(L(11, x)), "traces", {1: 1, 2: 2, 3: 2, 4: 0}),
    "link": (lambda x: span(L(13, x)), "traces", {1: 2, 2: 2, 3: 2, 4: 2, 5: 0, 6: 5}),
    "status": (lambda x: span(L(15, x)), "traces", {2: 2, 3: 0}),
    "key_value": (lambda x: span(L(9, x)), "traces", {1: 2, 2: 2}),
    "value": (lambda x: span(L(9, L(2, x))), "traces", {1: 2, 2: 0, 3: 0, 4: 1, 5: 2, 6: 2, 7: 2}),
    "array": (lambda x: span(L(9, L(2, L(5, x)))), "traces", {1: 2}),
    "kvlist": (lambda x: span(L(9, L(2, L(6, x)))), "traces", {1: 2}),
    "resource": (lambda x: span_in(IDS, L(1, x)), "traces", {1: 2, 2: 0, 3: 2}),
    "entity_ref": (lambda x: span_in(IDS, L(1, L(3, x))), "traces", {1: 2, 2: 2, 3: 2, 4: 2}),
    "scope": (lambda x: span_in(IDS, b"", L(1, x)), "traces", {1: 2, 2: 2, 3: 2, 4: 0}),
    "log": (log, "logs", {1: 1, 2: 0, 3: 2, 5: 2, 6: 2, 7: 0, 8: 5, 9: 2, 10: 2, 11: 1, 12: 2}),
}
for kind, (wrap, signal, fields) in FIELDS.items():
    for f, right in fields.items():
        w = {0: 1, 1: 0, 2: 0, 5: 2}[right]
        add(f"wrong_wire_{kind}_{f}", wrap(WRONG[w](f)), f"ok {R} unknown=1", signal, out=wrap(b""))
add("wrong_wire_trace_id", span_in(V(1, 1) + L(2, SID)), f"ok {R} unknown=1 reject:trace_id_length=1")

# ---- Singular fields sent twice ---------------------------------------------------------------------------
VALUES = {2: (L, "a", "b"), 0: (V, 1, 2), 1: (F64, 1, 2), 5: (F32, 1, 2)}
MESSAGES = {("span", 15), ("span", 9), ("span", 11), ("span", 13), ("event", 3), ("link", 4), ("key_value", 2),
            ("value", 5), ("value", 6), ("array", 1), ("kvlist", 1), ("resource", 1), ("resource", 3), ("scope", 3),
            ("log", 5), ("log", 6), ("entity_ref", 3), ("entity_ref", 4)}
ID_FIELDS = {("span", 4): 8, ("link", 1): 16, ("link", 2): 8, ("log", 9): 16, ("log", 10): 8}
TIMES = {("span", 7): " warn:end_before_start=1"}
for kind, (wrap, signal, fields) in FIELDS.items():
    for f, w in fields.items():
        if (kind, f) in MESSAGES:
            continue
        write, first, second = VALUES[w]
        if (kind, f) in ID_FIELDS:
            first, second = b"\x01" * ID_FIELDS[kind, f], b"\x02" * ID_FIELDS[kind, f]
        if (kind, f) == ("value", 2):
            first, second = 1, 0
        add(f"twice_{kind}_{f}", wrap(write(f, first) + write(f, second)), f"ok {R}" + TIMES.get((kind, f), ""), signal,
            out=wrap(write(f, second)))
add("twice_trace_id_bad_first", span_in(L(1, b"x") + IDS), f"ok {R}", out=span())
add("twice_trace_id_bad_last", span_in(IDS + L(1, b"x")), f"ok {R} reject:trace_id_length=1")
add("split_status", span(L(15, L(2, "m")) + L(15, V(3, 2))), f"ok {R}", out=span(L(15, L(2, "m") + V(3, 2))))
add("split_status_overrides", span(L(15, V(3, 1)) + L(15, V(3, 2))), f"ok {R}", out=span(L(15, V(3, 2))))
add("split_resource", L(1, L(1, L(1, kv("a"))) + L(2, L(2, IDS)) + L(1, L(1, kv("b")) + V(2, 3))), f"ok {R}",
    out=L(1, L(2, L(2, IDS)) + L(1, L(1, kv("a")) + L(1, kv("b")) + V(2, 3))))
add("split_scope", L(1, L(2, L(1, L(1, "n")) + L(1, L(2, "v")) + L(2, IDS))), f"ok {R}",
    out=L(1, L(2, L(1, L(1, "n") + L(2, "v")) + L(2, IDS))))
add("split_value_array", span(L(9, L(1, "a") + L(2, L(5, L(1, S("x")))) + L(2, L(5, L(1, S("y")))))), f"ok {R}",
    out=span(L(9, kv("a", L(5, L(1, S("x")) + L(1, S("y")))))))
add("split_array_in_value", span(L(9, kv("a", L(5, L(1, S("x"))) + L(5, L(1, S("y")))))), f"ok {R}",
    out=span(L(9, kv("a", L(5, L(1, S("x")) + L(1, S("y")))))))
add("split_body", log(L(5, S("x")) + L(5, V(3, 1))), f"ok {R}", "logs", out=log(L(5, V(3, 1))))
add("split_array_restarts", span(L(9, kv("a", L(5, L(1, S("x"))) + S("s") + L(5, L(1, S("y")))))), f"ok {R}",
    out=span(L(9, kv("a", L(5, L(1, S("y")))))))
MEMBERS = {1: S("s"), 2: V(2, 1), 3: V(3, 7), 4: F64(4, 0), 5: L(5), 6: L(6), 7: L(7, b"\x00")}
for a in MEMBERS:
    for b in MEMBERS:
        if a != b:
            add(f"oneof_{a}_then_{b}", span(L(9, kv("k", MEMBERS[a] + MEMBERS[b]))), f"ok {R}",
                out=span(L(9, kv("k", MEMBERS[b]))))
add("split_1025_times", span(L(15) * 1025), f"ok {R}", out=span(L(15)))
add("split_1026_times", span(L(15) * 1026), "too_many")

# ---- IDs --------------------------------------------------------------------------------------------------
for n in (0, 1, 7, 8, 9, 15, 16, 17, 32):
    x = b"\x01" * n
    add(f"trace_id_{n}_bytes", span_in(L(1, x) + L(2, SID)), ok if n == 16 else f"ok {R} reject:trace_id_length=1")
    add(f"span_id_{n}_bytes", span_in(L(1, TID) + L(2, x)), ok if n == 8 else f"ok {R} reject:span_id_length=1")
    add(f"parent_id_{n}_bytes", span(L(4, x)), ok if n in (0, 8) else f"ok {R} reject:parent_span_id_length=1")
    add(f"link_trace_id_{n}_bytes", span(L(13, L(1, x) + L(2, SID))), ok if n in (0, 16) else f"ok {R} warn:link_id=1",
        out=None if n in (0, 16) else span(V(14, 1)))
    add(f"link_span_id_{n}_bytes", span(L(13, L(1, TID) + L(2, x))), ok if n in (0, 8) else f"ok {R} warn:link_id=1",
        out=None if n in (0, 8) else span(V(14, 1)))
    add(f"log_trace_id_{n}_bytes", log(L(9, x)), ok if n in (0, 16) else f"ok {R} warn:log_id=1", "logs",
        out=None if n in (0, 16) else log())
    add(f"log_span_id_{n}_bytes", log(L(10, x)), ok if n in (0, 8) else f"ok {R} warn:log_id=1", "logs",
        out=None if n in (0, 8) else log())
add("trace_id_zero", span_in(L(1, bytes(16)) + L(2, SID)), f"ok {R} reject:trace_id_zero=1")
add("trace_id_half_zero", span_in(L(1, bytes(15) + b"\x01") + L(2, SID)))
add("span_id_zero", span_in(L(1, TID) + L(2, bytes(8))), f"ok {R} reject:span_id_zero=1")
add("parent_id_zero", span(L(4, bytes(8))))
add("parent_id_self", span(L(4, SID)))
add("link_ids_zero", span(L(13, L(1, bytes(16)) + L(2, bytes(8)))))
add("log_ids_zero", log(L(9, bytes(16)) + L(10, bytes(8))), ok, "logs")
add("log_both_ids_bad", log(L(9, b"x") + L(10, b"y") + L(3, "kept")), f"ok {R} warn:log_id=2", "logs", out=log(L(3, "kept")))
add("link_bad_counts_up", span(V(14, 4) + L(13, L(1, b"x")) + L(5, "n")), f"ok {R} warn:link_id=1",
    out=span(L(5, "n") + V(14, 5)))

# ---- Times, counts, enums ---------------------------------------------------------------------------------
for name, t in (("0", 0), ("1", 1), ("2_63", 1 << 63), ("2_64_less_1", (1 << 64) - 1), ("1970", 10**9), ("2262", 9223372036854775807)):
    add(f"times_equal_{name}", span(F64(7, t) + F64(8, t)))
    add(f"log_time_{name}", log(F64(1, t)), ok, "logs")
add("end_before_start", span(F64(7, 2) + F64(8, 1)), "ok warn:end_before_start=1")
add("end_missing", span(F64(7, 2)), "ok warn:end_before_start=1")
for f in (10, 12, 14):
    add(f"dropped_max_{f}", span(V(f, 0xFFFFFFFF)))
    add(f"dropped_over_{f}", span(V(f, 1 << 32 | 7)), f"ok {R}", out=span(V(f, 7)))
add("dropped_saturates", span(V(14, 0xFFFFFFFF) + L(13, L(1, b"x"))), f"ok {R} warn:link_id=1", out=span(V(14, 0xFFFFFFFF)))
add("kind_unknown", span(V(6, 99)))
add("kind_negative", span(V(6, -1)))
add("kind_negative_short", span(V(6, 0xFFFFFFFF)), f"ok {R}", out=span(V(6, -1)))
add("kind_over_32_bits", span(V(6, 1 << 40 | 3)), f"ok {R}", out=span(V(6, 3)))
add("status_code_unknown", span(L(15, V(3, 7))))
add("severity_unknown", log(V(2, 25)), ok, "logs")
add("bool_2", span(L(9, kv("a", V(2, 2)))), f"ok {R}", out=span(L(9, kv("a", V(2, 1)))))
for name, x in (("nan", 0x7FF8 << 48), ("signalling_nan", 0x7FF0000000000001), ("inf", 0x7FF0 << 48), ("minus_inf", 0xFFF0 << 48), ("minus_zero", 1 << 63)):
    add(f"double_{name}", span(L(9, kv("a", F64(4, x)))))
add("int_minimum", span(L(9, kv("a", V(3, -(1 << 63))))))
add("flags_max", span(F32(16, 0xFFFFFFFF)))
add("defaults_explicit", span(V(6, 0) + V(10, 0) + F64(7, 0) + L(5)))

# ---- Strings ----------------------------------------------------------------------------------------------
BAD = {"ff": b"\xff", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\xbd", "cut": b"ok\xe2\x82", "above": b"\xf4\x90\x80\x80"}
PLACES = {
    "trace_state": lambda b: span(L(3, b)), "name": lambda b: span(L(5, b)), "status": lambda b: span(L(15, L(2, b))),
    "event_name": lambda b: span(L(11, L(2, b))), "link_state": lambda b: span(L(13, L(3, b))),
    "key": lambda b: span(L(9, kv(b, S("x")))), "value": lambda b: span(L(9, kv("a", S(b)))),
    "nested": lambda b: span(L(9, kv("a", L(5, L(1, S(b)))))), "nested_key": lambda b: span(L(9, kv("a", L(6, L(1, kv(b)))))),
    "scope_name": lambda b: span_in(IDS, b"", L(1, L(1, b))), "schema_url": lambda b: span_in(IDS, L(3, b)),
    "resource_value": lambda b: span_in(IDS, L(1, L(1, kv("a", S(b))))),
    "entity_type": lambda b: span_in(IDS, L(1, L(3, L(2, b)))), "entity_key": lambda b: span_in(IDS, L(1, L(3, L(3, b)))),
}
for place, wrap in PLACES.items():
    add(f"utf8_{place}_ff", wrap(b"\xff"), "ok warn:invalid_utf8=1")
for name, b in BAD.items():
    add(f"utf8_{name}_in_name", span(L(5, b)), "ok warn:invalid_utf8=1")
add("utf8_log_text", log(L(3, b"\xff")), "ok warn:invalid_utf8=1", "logs")
add("utf8_log_event_name", log(L(12, b"\xff")), "ok warn:invalid_utf8=1", "logs")
add("utf8_log_body", log(L(5, S(b"\xff"))), "ok warn:invalid_utf8=1", "logs")
add("utf8_bytes_value_is_free", span(L(9, kv("a", L(7, b"\xff")))))
add("utf8_in_rejected_span", span_in(L(5, b"\xff")), f"ok {R} reject:trace_id_length=1")
add("string_nul_inside", span(L(5, "a\0b")))
add("string_u2028", span(L(5, "\u2028\u2029\ufeff\U0010ffff")))

# ---- Limits -----------------------------------------------------------------------------------------------
# small: 4 attributes, 2 events, 2 links, keys of 8 bytes, values of 16, 60 elements
A = [kv(f"k{i}", V(3, i)) for i in range(6)]
for kind, wrap, f, dropped, signal in (
        ("span", span, 9, 10, "traces"), ("event", lambda x: span(L(11, x)), 3, 4, "traces"),
        ("link", lambda x: span(L(13, x)), 4, 5, "traces"), ("log", log, 6, 7, "logs"),
        ("resource", lambda x: span_in(IDS, L(1, x)), 1, 2, "traces"), ("scope", lambda x: span_in(IDS, b"", L(1, x)), 3, 4, "traces")):
    def attributes(n):
        return b"".join(L(f, a) for a in A[:n])
    for n in (3, 4):
        add(f"attributes_{kind}_{n}", wrap(attributes(n)), ok, signal, limits="small")
    add(f"attributes_{kind}_5", wrap(attributes(5)), f"ok {R} warn:attributes_cut=1", signal, limits="small",
        out=wrap(attributes(4) + V(dropped, 1)))
    add(f"attributes_{kind}_6_counted", wrap(V(dropped, 3) + attributes(6)), f"ok {R} warn:attributes_cut=2", signal,
        limits="small", out=wrap(attributes(4) + V(dropped, 5)))
    add(f"attribute_key_{kind}_long", wrap(L(f, kv("123456789", S("x")))), f"ok {R} warn:key_cut=1", signal, limits="small",
        out=wrap(V(dropped, 1)))
    add(f"attribute_value_{kind}_long", wrap(L(f, kv("a", S("x" * 17)))), f"ok {R} warn:value_cut=1", signal, limits="small",
        out=wrap(L(f, kv("a", S("x" * 16))) + V(dropped, 1)))
add("key_8", span(L(9, kv("12345678"))), limits="small")
add("key_long_value_unseen", span(L(9, kv("123456789", S(b"\xff")))), f"ok {R} warn:key_cut=1", limits="small", out=span(V(10, 1)))
add("key_after_value_long", span(L(9, L(2, S(b"\xff")) + L(1, "123456789"))), f"ok {R} warn:key_cut=1", limits="small", out=span(V(10, 1)))
add("key_nested_long", span(L(9, kv("a", L(6, L(1, kv("123456789")))))), f"ok {R} warn:key_cut=1", limits="small",
    out=span(L(9, kv("a", L(6))) + V(10, 1)))
add("events_2", span(L(11) * 2), limits="small")
add("events_3", span(L(11) * 3), f"ok {R} warn:events_cut=1", limits="small", out=span(L(11) * 2 + V(12, 1)))
add("links_2", span(L(13) * 2), limits="small")
add("links_4", span(L(13) * 4), f"ok {R} warn:links_cut=2", limits="small", out=span(L(13) * 2 + V(14, 2)))
add("links_bad_not_counted", span(L(13, L(1, b"x")) + L(13) * 2), f"ok {R} warn:link_id=1", limits="small", out=span(L(13) * 2 + V(14, 1)))
add("event_over_limit_unseen", span(L(11) * 2 + L(11, L(2, b"\xff"))), f"ok {R} warn:events_cut=1", limits="small", out=span(L(11) * 2 + V(12, 1)))
add("event_over_limit_malformed", span(L(11) * 2 + L(11, b"\x07")), "invalid", limits="small")
for n in (15, 16):
    add(f"value_{n}", span(L(9, kv("a", S("x" * n)))), limits="small")
add("value_bytes_17", span(L(9, kv("a", L(7, b"\xff" * 17)))), f"ok {R} warn:value_cut=1", limits="small",
    out=span(L(9, kv("a", L(7, b"\xff" * 16))) + V(10, 1)))
for size, c in ((2, "\u00e9"), (3, "\u20ac"), (4, "\U0001f986")):
    for before in range(16 - size + 1, 17):
        text = "x" * before + c + "tail"
        add(f"value_cut_{size}_byte_char_at_{before}", span(L(9, kv("a", S(text)))), f"ok {R} warn:value_cut=1", limits="small",
            out=span(L(9, kv("a", S("x" * before))) + V(10, 1)))
    text = "x" * (16 - size) + c + "tail"
    add(f"value_cut_{size}_byte_char_fits", span(L(9, kv("a", S(text)))), f"ok {R} warn:value_cut=1", limits="small",
        out=span(L(9, kv("a", S("x" * (16 - size) + c))) + V(10, 1)))
add("value_cut_all_continuation", span(L(9, kv("a", S(b"\x80" * 20)))), f"ok {R} warn:value_cut=1 warn:invalid_utf8=1",
    limits="small", out=span(L(9, kv("a", S(b"\x80" * 16))) + V(10, 1)))
add("value_cut_in_array", span(L(9, kv("a", L(5, L(1, S("y" * 20)) * 2)))), f"ok {R} warn:value_cut=2", limits="small",
    out=span(L(9, kv("a", L(5, L(1, S("y" * 16)) * 2))) + V(10, 2)))
add("name_cut", span(L(5, "n" * 20)), f"ok {R} warn:value_cut=1", limits="small", out=span(L(5, "n" * 16) + V(10, 1)))
add("status_cut", span(L(15, L(2, "m" * 20))), f"ok {R} warn:value_cut=1", limits="small", out=span(L(15, L(2, "m" * 16)) + V(10, 1)))
add("schema_url_cut", span_in(IDS, L(3, "u" * 20)), f"ok {R} warn:value_cut=1", limits="small", out=span_in(IDS, L(3, "u" * 16)))
# 3 groups and a span, then events: at most 60 elements in all.
add("elements_60", L(1, L(2) * 59), "ok items=0", limits="small")
add("elements_61", L(1, L(2) * 60), "too_many", limits="small")
add("elements_plain_attributes", span(L(9, kv("a", V(3, 1))) * 30), "too_many", limits="small")
add("elements_million_attributes", [(b"\x0a" + vi(8 + 4 + 4), 1)], "invalid")
add("key_1024", span(L(9, kv("k" * 1024, S("x")))))
add("key_1025", span(L(9, kv("k" * 1025, S("x")))), f"ok {R} warn:key_cut=1", out=span(V(10, 1)))
BIG = 16 << 20
inner = tag(1, 2) + vi(BIG)
def wrapped(head, size, *fields):
    """head + size bytes of filling, inside length-delimited fields, innermost first."""
    for f in fields:
        head = tag(f, 2) + vi(len(head) + size) + head
    return head
add("key_16_mib", [(wrapped(IDS + tag(9, 2) + vi(len(inner) + BIG) + inner, BIG, 2, 2, 1), 1), (b"k", BIG)], f"ok {R} warn:key_cut=1", out=span(V(10, 1)))
add("attributes_1024", span(L(9, kv("a")) * 1024))
add("attributes_1025", span(L(9, kv("a")) * 1025), f"ok {R} warn:attributes_cut=1")

# ---- Depth ------------------------------------------------------------------------------------------------
def nest(n, how):
    value = b""
    for i in range(n - 1):
        kind = how if how != "mixed" else ("array", "kvlist")[i % 2]
        value = L(5, L(1, value)) if kind == "array" else L(6, L(1, kv("", value)))
    return value
for how in ("array", "kvlist", "mixed"):
    for n in (63, 64, 65, 100, 1000):
        add(f"depth_{how}_{n}", span(L(9, kv("a", nest(n, how)))), ok if n <= 64 else "too_deep")
    add(f"depth_body_{how}_64", log(L(5, nest(64, how))), ok, "logs")
    add(f"depth_body_{how}_65", log(L(5, nest(65, how))), "too_deep", "logs")

# ---- JSON -------------------------------------------------------------------------------------------------
HEX = f'"traceId":"{TID.hex()}","spanId":"{SID.hex()}"'
def js(inside="", ids=HEX):
    return '{"resourceSpans":[{"scopeSpans":[{"spans":[{' + ",".join(x for x in (ids, inside) if x) + "}]}]}]}"
def jv(value):
    return js('"attributes":[{"key":"a","value":' + value + "}]")
def jl(inside):
    return '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{' + inside + "}]}]}]}"
def J(name, text, expect=ok, signal="traces", limits="default", out=None):
    add("json_" + name, text, expect, signal, "json", limits, out)
def val(v):
    return span(L(9, kv("a", v)))

for name, text in (("empty", ""), ("blanks", " \n"), ("bom_only", b"\xef\xbb\xbf"), ("null", "null"), ("array", "[]"), ("string", '"x"'),
                   ("number", "1"), ("true", "true"), ("two_values", "{}{}"), ("trailing_comma", '{"a":1,}'), ("trailing_text", "{} x"),
                   ("no_colon", '{"a" 1}'), ("no_quotes", "{a:1}"), ("single_quotes", "{'a':1}"), ("unclosed", '{"resourceSpans":['),
                   ("wrong_close", '{"resourceSpans":[}'), ("comment", "{/**/}"), ("double_comma", '{"a":[1,,2]}'), ("nan_literal", '{"a":NaN}'),
                   ("plus_number", '{"a":+1}'), ("leading_zero", '{"a":01}'), ("bare_point", '{"a":1.}'), ("bare_fraction", '{"a":.5}'),
                   ("bare_exponent", '{"a":1e}'), ("bare_minus", '{"a":-}'), ("bad_literal", '{"a":tru}'), ("bad_escape", '{"a":"\\x"}'),
                   ("short_unicode", '{"a":"\\u12"}'), ("bad_unicode", '{"a":"\\u12g4"}'), ("control_in_string", '{"a":"\n"}'), ("open_string", '{"a":"'),
                   ("escape_at_end", '{"a":"\\'), ("nul_byte", b'{"a":\x00}'), ("protobuf", span())):
    J("bad_" + name, text, "invalid")
J("empty_object", "{}", "ok items=0", out=b"")
J("bom", b"\xef\xbb\xbf{}", "ok items=0", out=b"")
J("minimal", js(), out=span())
J("not_an_array", '{"resourceSpans":{}}', "invalid")
J("not_an_object", '{"resourceSpans":[1]}', "invalid")
J("resource_is_text", '{"resourceSpans":[{"resource":"x"}]}', "invalid")
J("name_is_number", js('"name":5'), "invalid")
J("name_is_object", js('"name":{}'), "invalid")
J("key_is_number", js('"attributes":[{"key":1}]'), "invalid")
J("value_is_text", js('"attributes":[{"key":"a","value":"x"}]'), "invalid")
J("time_is_bool", js('"startTimeUnixNano":true'), "invalid")
J("trace_id_is_number", js("", f'"traceId":5,"spanId":"{SID.hex()}"'), "invalid")
J("null_body", jl('"body":null'), ok, "logs", out=log())
J("body_empty", jl('"body":{}'), ok, "logs", out=log(L(5)))
J("body_text", jl('"body":{"stringValue":"x"}'), ok, "logs", out=log(L(5, S("x"))))
J("body_is_text", jl('"body":"x"'), "invalid", "logs")
J("no_value", js('"attributes":[{"key":"a"}]'), out=span(L(9, kv("a"))))
J("value_empty", jv("{}"), out=val(b""))
J("string_empty", jv('{"stringValue":""}'), out=val(S("")))
J("bool_false", jv('{"boolValue":false}'), out=val(V(2, 0)))
J("bool_number", jv('{"boolValue":1}'), "invalid")
J("two_members", jv('{"stringValue":"x","intValue":1}'), f"ok {R}", out=val(V(3, 1)))
for name, text, n in (("zero", "0", 0), ("minus_zero", "-0", 0), ("2_53_plus_1", "9007199254740993", 2**53 + 1), ("max", "9223372036854775807", 2**63 - 1),
                      ("min", "-9223372036854775808", -(2**63)), ("exponent", "1.7e18", 17 * 10**17), ("many_zeros", "1" + ".0" + "0" * 300, 1),
                      ("zero_huge_exponent", "0e999999999999", 0), ("small_exponent", "70000e-4", 7)):
    J(f"int_{name}", jv('{"intValue":' + text + "}"), out=val(V(3, n)))
    J(f"int_{name}_text", jv('{"intValue":"' + text + '"}'), out=val(V(3, n)))
for name, text in (("over", "9223372036854775808"), ("under", "-9223372036854775809"), ("fraction", "1.5"), ("huge", "1e400"), ("tiny", "1e-1"),
                   ("empty", '""'), ("blank", '" 1"'), ("hex", '"0x10"'), ("word", '"one"'), ("long", "9" * 400), ("exponent_missing", '"1e"'), ("exponent_word", '"0ex"'), ("zero_exponent_missing", '"0e"'), ("two_points", '"1.0.0"'), ("huge_exponent", "1e99999999999999999999")):
    J(f"int_bad_{name}", jv('{"intValue":' + text + "}"), "invalid")
J("time_max", js('"startTimeUnixNano":"18446744073709551615","endTimeUnixNano":18446744073709551615'), out=span(F64(7, 2**64 - 1) + F64(8, 2**64 - 1)))
J("time_over", js('"startTimeUnixNano":"18446744073709551616"'), "invalid")
J("time_negative", js('"startTimeUnixNano":-1'), "invalid")
J("count_over", js('"droppedLinksCount":4294967296'), "invalid")
J("flags_over", js('"flags":4294967296'), "invalid")
J("kind_over", js('"kind":2147483648'), "invalid")
J("kind_negative", js('"kind":-1'), out=span(V(6, -1)))
J("kind_lower_case", js('"kind":"server"'), "invalid")
for name, text, bits in (("half", "0.5", 0x3FE0 << 48), ("int", "1", 0x3FF0 << 48), ("nan", '"NaN"', 0x7FF8 << 48), ("inf", '"Infinity"', 0x7FF0 << 48),
                         ("minus_inf", '"-Infinity"', 0xFFF0 << 48), ("minus_zero", "-0.0", 1 << 63), ("text", '"0.5"', 0x3FE0 << 48)):
    J(f"double_{name}", jv('{"doubleValue":' + text + "}"), out=val(F64(4, bits)))
for name, text in (("inf", '"inf"'), ("nan", '"nan"'), ("over", "1e999"), ("empty", '""'), ("bool", "true")):
    J(f"double_bad_{name}", jv('{"doubleValue":' + text + "}"), "invalid")
J("bytes", jv('{"bytesValue":"AQI="}'), out=val(L(7, b"\x01\x02")))
J("bytes_empty", jv('{"bytesValue":""}'), out=val(L(7)))
J("bytes_unpadded", jv('{"bytesValue":"AQI"}'), out=val(L(7, b"\x01\x02")))
J("bytes_url_safe", jv('{"bytesValue":"-_8="}'), out=val(L(7, b"\xfb\xff")))
J("bytes_bad", jv('{"bytesValue":"A!=="}'), "invalid")
J("bytes_one_digit", jv('{"bytesValue":"A"}'), "invalid")
for name, t, expect in (("upper", TID.hex().upper(), ok), ("odd", TID.hex()[:-1], f"ok {R} reject:trace_id_length=1"), ("short", TID.hex()[:-2], f"ok {R} reject:trace_id_length=1"),
                        ("long", TID.hex() + "00", f"ok {R} reject:trace_id_length=1"), ("base64", "AQIDBAUGBwgJCgsMDQ4PEA==", f"ok {R} reject:trace_id_length=1"),
                        ("empty", "", f"ok {R} reject:trace_id_length=1"), ("zero", "0" * 32, f"ok {R} reject:trace_id_zero=1"), ("not_hex", "z" * 32, f"ok {R} reject:trace_id_length=1"),
                        ("sixteen_letters", "z" * 16, f"ok {R} reject:trace_id_length=1")):
    J(f"trace_id_{name}", js("", f'"traceId":"{t}","spanId":"{SID.hex()}"'), expect)
J("parent_id_empty", js('"parentSpanId":""'), out=span())
J("parent_id_bad", js('"parentSpanId":"12"'), f"ok {R} reject:parent_span_id_length=1")
J("link_id_bad", js('"links":[{"traceId":"xyz"}]'), f"ok {R} warn:link_id=1", out=span(V(14, 1)))
J("log_id_bad", jl('"traceId":"xyz"'), f"ok {R} warn:log_id=1", "logs", out=log())
J("unknown_names", js('"x":{"y":[1,"z",null,true,{}]}'), out=span())
J("key_case_matters", js('"Name":"x","NAME":"y"'), out=span())
J("duplicate_scalar", js('"name":"a","name":"b"'), f"ok {R}", out=span(L(5, "b")))
J("duplicate_array", js('"events":[{"name":"a"}],"events":[{"name":"b"}]'), out=span(L(11, L(2, "a")) + L(11, L(2, "b"))))
for name, text, b in (("high", "\\ud83d", b"\xed\xa0\xbd"), ("low", "\\ude00", b"\xed\xb8\x80"), ("two_high", "\\ud83d\\ud83d", b"\xed\xa0\xbd" * 2), ("swapped", "\\ude00\\ud83d", b"\xed\xb8\x80\xed\xa0\xbd")):
    J(f"lone_surrogate_{name}", js(f'"name":"{text}"'), "ok warn:invalid_utf8=1", out=span(L(5, b)))
J("surrogate_pair", js('"name":"\\ud83e\\udd86"'), out=span(L(5, "\U0001f986")))
J("raw_bad_utf8", js().encode()[:-6].replace(b'"spanId"', b'"name":"\xff","spanId"') + b"}]}]}", "invalid")
J("raw_bad_utf8_kept", js('"name":"@"').encode().replace(b"@", b"\xff"), "ok warn:invalid_utf8=1", out=span(L(5, b"\xff")))
J("escaped_nul", js('"name":"a\\u0000b"'), out=span(L(5, "a\0b")))
J("all_escapes", js('"name":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00E9"'), out=span(L(5, '"\\/\b\f\n\r\t\u00e9')))
J("deep_unknown_arrays", '{"x":' + "[" * 280 + "]" * 280 + "}", "ok items=0", out=b"")
J("deep_unknown_too_deep", '{"x":' + "[" * 300 + "]" * 300 + "}", "too_deep")
J("hundred_megabytes_of_brackets", [(b"[", 100000000)], "invalid")
J("brackets_in_unknown", [(b'{"x":', 1), (b"[", 100000000)], "too_deep")
def jnest(n, how):
    text = "{}"
    for _ in range(n - 1):
        text = '{"arrayValue":{"values":[' + text + "]}}" if how == "array" else '{"kvlistValue":{"values":[{"key":"","value":' + text + "}]}}"
    return text
for how in ("array", "kvlist"):
    for n in (63, 64):
        J(f"depth_{how}_{n}", jv(jnest(n, how)))
    for n in (65, 66):
        J(f"depth_{how}_{n}", jv(jnest(n, how)), "too_deep")
J("elements_over", '{"resourceSpans":[' + ",".join(["{}"] * 61) + "]}", "too_many", limits="small")
J("elements_at_limit", '{"resourceSpans":[' + ",".join(["{}"] * 60) + "]}", "ok items=0", limits="small")

print("\n".join(LINES))
