#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of journal_fuzz: files of a journal, without the hashes, which the target makes.

    storage/sqlite/testing/journal_fuzz_seeds.py storage/corpus/journal_fuzz
"""
import os
import struct
import sys

HASHES, SEQUENCES, CHECKSUMS, LARGE = 1, 2, 4, 8
MENDED = HASHES | SEQUENCES | CHECKSUMS


def header(serial, group_no, sequence, salt=7, length=65536):
    one = struct.pack("<IIQQQQQQ", 0, 0, length, salt, serial, group_no, sequence, 0)
    return one + bytes(2048 - len(one)) + struct.pack("<IIQQQQQQ", 1, 0, length, salt, serial, group_no, sequence, 0)


def group(group_no, sequence, bodies, reserved=0, signals=(0, 1)):
    at, heads = 64 + 80 * len(bodies), b""
    for i, body in enumerate(bodies):
        heads += struct.pack("<QQQQQQQIIBB6xQ", sequence + i, 1000 + i, 1, len(body), sequence + i, 9, 0, len(body), at,
                             signals[i % len(signals)], 0, 0)
        at += len(body)
    return struct.pack("<4sIQQQQQQQ", b"SPsG", len(bodies), group_no, sequence, at, reserved, 0, 0, 0) + heads + b"".join(bodies)


def unreadable(group, index):
    """Of an entry the head says more than can be."""
    at = 64 + 80 * index + 56
    return group[:at] + b"\xff" * 4 + group[at + 4:]


def seed(pieces, how=MENDED, retired=(0, 0), known=255):
    return bytes([how, *retired, known]) + b"".join(
        struct.pack("<BH", number, len(piece)) + piece for number, piece in pieces)


def bodies(count, length=5):
    return [bytes([65 + i % 26]) * length for i in range(count)]


SEEDS = {
    "groups": seed([(1, header(1, 1, 1)), (1, group(1, 1, bodies(3))), (1, group(2, 4, bodies(1))),
                    (1, group(3, 5, bodies(2)))], retired=(1, 2), known=2),
    "two-files": seed([(1, header(1, 1, 1)), (1, group(1, 1, bodies(2))), (2, header(2, 2, 3)),
                       (2, group(2, 3, bodies(2))), (2, group(3, 5, bodies(1, 5000)))], known=1),
    "used-again": seed([(1, header(3, 3, 5)), (1, group(3, 5, bodies(2))), (1, group(2, 3, bodies(2), reserved=1)),
                        (2, header(2, 2, 3)), (2, group(2, 3, bodies(2)))], retired=(2, 2)),
    # A write that failed left a group of more entries than the one that came in its place, in the next file.
    "failed-write": seed([(1, header(1, 1, 1)), (1, group(1, 1, bodies(2))), (1, group(2, 3, bodies(9))),
                          (2, header(3, 4, 6)), (2, group(4, 6, bodies(2)))], MENDED | LARGE, retired=(5, 5)),
    "torn": seed([(1, header(1, 1, 1)), (1, group(1, 1, bodies(2))), (1, group(2, 3, bodies(3)))], HASHES | SEQUENCES),
    "torn-first": seed([(1, header(1, 1, 1)), (1, group(1, 1, bodies(2))), (2, header(2, 2, 3))]),
    # What is damaged has left, and something else of its group has not; what shows that it was whole is torn itself.
    "torn-behind-damage": seed([(1, header(1, 1, 1)), (1, unreadable(group(1, 1, bodies(3)), 0)),
                                (1, unreadable(group(2, 4, bodies(1)), 0))], retired=(1, 2), known=2),
    "damaged": seed([(1, header(1, 1, 1)[:2048]), (1, group(1, 1, bodies(2))), (1, group(2, 3, bodies(3), reserved=1)),
                     (1, group(3, 6, bodies(2))), (3, header(2, 4, 8)), (3, group(4, 8, bodies(1)))], HASHES),
    "cut-short": seed([(1, header(1, 1, 1)), (1 + 128, group(1, 1, bodies(2)))]),
    "late": seed([(4, header(9, 1 << 40, 1 << 40)), (4, group(1 << 40, 1 << 40, bodies(2)))]),
    "nothing": seed([(2, b"")], 0),
}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
