#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the architecture promises, shown from the sources themselves:

- includes run only along the arrows of the rooms, and form no cycle;
- no library's types stand above the room that is named for it;
- every public prototype has a comment;
- every source begins with its licence, and is laid out by clang-format.

The self-test at the end puts each defect into a copy and sees it caught.
"""
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Room -> rooms it may include.
ARROWS = {
    "base": set(),
    "codec": {"base"},
    "net": {"base", "codec"},
    "proto": {"base"},
    "storage": {"base", "codec", "proto"},
    "collector": {"base", "codec", "net", "proto", "storage"},
    "sql": {"base", "proto", "storage"},
    "query": {"base", "codec", "net", "proto", "storage", "sql"},
    "bench": {"base", "codec", "proto", "net", "storage"},
    "cli": {"base", "codec", "net", "proto", "storage", "collector", "sql", "query", "bench"},
}
# Header of a library -> where it may be included.
LIBRARIES = {
    r"sqlite3\.h": ("storage/sqlite/", "sql/"),
    r"nghttp2/.*": ("net/",),
    r"llhttp\.h": ("net/",),
    r"uv\.h": ("net/",),
    r"openssl/.*": ("net/", "collector/auth", "collector/secret"),
    r"zstd\.h": ("codec/", "storage/rowgroup/"),
    r"zlib\.h|libdeflate\.h": ("codec/",),
    r"xxhash\.h": ("base/",),
    r"pcre2\.h": ("storage/expr_regex",),
    r"yaml\.h|cyaml/.*": ("cli/",),
    r"protobuf-c/.*|.*\.pb-c\.h": ("proto/",),
}
# Identifiers of a library -> rooms whose headers may name them.
TYPES = {
    r"\bsqlite3\w*": ("storage/sqlite/", "sql/"),
    r"\bnghttp2_\w+": "net/",
    r"\bllhttp_\w+": "net/",
    r"\buv_\w+": "net/",
    r"\bSSL(_CTX)?\s*\*": "net/",
    r"\bZSTD_\w+": ("codec/", "storage/rowgroup/"),
    r"\bpcre2_\w+": "storage/expr_regex",
    r"\bProtobufC\w+": "proto/",
}


def sources(root, *suffixes):
    for room in ARROWS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in suffixes and "build" not in path.parts:
                yield path.relative_to(root).as_posix()


def is_test(path):
    return re.search(r"_(test|fuzz|bench)\.c$|/testing/|test_server\.c$|/engine_suite\.", path) is not None


def is_private(path):
    """Not a header that another module includes."""
    return re.search(r"_private\.h$|_testing\.h$|/testing/|fake_engine\.h$|/test_\w+\.h$", path) is not None


def includes(root, path):
    for line in (root / path).read_text().splitlines():
        match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if match:
            yield match.group(1), match.group(2)


def check_arrows(root):
    for path in sources(root, ".c", ".h"):
        room = path.split("/")[0]
        for quote, target in includes(root, path):
            if quote == '"' and "/" in target:
                other = target.split("/")[0]
                allowed = ARROWS[room] | {room}
                if other in ARROWS and other not in allowed and not is_test(path):
                    yield f"{path}: includes {target}; {room} may use {', '.join(sorted(allowed))}"
            for pattern, places in LIBRARIES.items():
                if re.fullmatch(pattern, target) and not path.startswith(places) and not is_test(path):
                    yield f"{path}: includes <{target}>, which belongs to {', '.join(places)}"


def check_cycles(root):
    graph = collections.defaultdict(set)
    for path in sources(root, ".h"):
        graph[path] = {t for q, t in includes(root, path) if q == '"'}
    state = {}

    def visit(node, trail):
        state[node] = "open"
        for other in sorted(graph.get(node, ())):
            if state.get(other) == "open":
                yield "include cycle: " + " -> ".join(trail + [node, other])
            elif other not in state:
                yield from visit(other, trail + [node])
        state[node] = "done"

    for node in sorted(graph):
        if node not in state:
            yield from visit(node, [])


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def check_types(root):
    for path in sources(root, ".h"):
        text = strip_comments((root / path).read_text())
        for pattern, places in TYPES.items():
            places = (places,) if isinstance(places, str) else places
            hit = re.search(pattern, text)
            if hit and not path.startswith(places):
                yield f"{path}: names {hit.group()}, a type of a library that stays in {', '.join(places)}"


PROTOTYPE = re.compile(r"^(?!typedef|static|#|struct \w+ \{|enum)[A-Za-z_][\w\s*]*?\b(\w+)\([^;{}]*\)[^;{}]*;", re.M)


def check_documented(root):
    """A prototype is documented when a comment stands on the line above it, above the run of prototypes
    it belongs to (no blank line between), or behind it."""
    for path in sources(root, ".h"):
        if is_private(path):
            continue
        text = (root / path).read_text()
        code = strip_comments(text)
        for match in PROTOTYPE.finditer(code):
            end = text.find("\n", match.end())
            if "/*" in text[match.start() : end]:
                continue
            above = text[: match.start()].rstrip(" ")
            block = re.split(r"\n\s*\n", above)[-1]
            if "*/" not in block:
                line = text[: match.start()].count("\n") + 1
                yield f"{path}:{line}: {match.group(1)}() has no comment"


def check_licence(root):
    for path in sources(root, ".c", ".h"):
        if "SPDX-License-Identifier: Apache-2.0" not in (root / path).read_text().split("\n", 1)[0]:
            yield f"{path}: the first line is not the SPDX line"


def check_format(root):
    files = list(sources(root, ".c", ".h"))
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=root, text=True,
                         capture_output=True)
    for path in sorted(set(re.findall(r"^([\w./-]+):\d+:\d+: error", run.stderr, re.M))):
        yield f"{path}: not laid out by clang-format"


CHECKS = [check_arrows, check_cycles, check_types, check_documented, check_licence, check_format]

DEFECTS = [
    (check_arrows, "base/arena.c", '#include "storage/engine.h"\n'),
    (check_arrows, "query/query.h", "#include <sqlite3.h>\n"),
    (check_cycles, "base/bytes.h", '#include "base/arena.h"\n'),
    (check_types, "storage/engine.h", "\nsqlite3 *engine_db(void); /* x */\n"),
    (check_documented, "base/err.h", "\n\nint undocumented(void);\n"),
    (check_licence, "base/err.c", None),
    (check_format, "base/err.c", "int  x ;\n"),
]


def self_test():
    """Each defect, put into a copy, is caught."""
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch) / "tree"
        copy.mkdir()
        for room in ARROWS:
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("corpus", "vectors"))
        shutil.copy(ROOT / ".clang-format", copy)
        for check, path, text in DEFECTS:
            file = copy / path
            before = file.read_text()
            file.write_text("int x;\n" + before if text is None else before + text)
            if not any(path.split("/")[-1] in problem or "cycle" in problem for problem in check(copy)):
                missed.append(f"self-test: {check.__name__} did not see the defect put into {path}")
            file.write_text(before)
    return missed


def main():
    failed = 0
    for check in CHECKS:
        problems = list(check(ROOT))
        failed += bool(problems)
        print(*problems, f"{check.__name__}: {len(problems)} problems", sep="\n")
    missed = self_test()
    print(*missed, f"{len(DEFECTS) - len(missed)} of {len(DEFECTS)} defects put into a copy were caught", sep="\n")
    failed += len(missed)
    print(f"{len(CHECKS) + len(DEFECTS) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
