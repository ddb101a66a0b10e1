// SPDX-License-Identifier: Apache-2.0
// Traces for tests, from a seed: spans in pre-order, as the server sends them.

/** Spans from rows of [parent, start, dur, svc?, name?, kind?, flags?]. */
export function spansOf(rows) {
  const s = {
    n: rows.length,
    parent: new Int32Array(rows.length),
    start: new Float64Array(rows.length),
    dur: new Float64Array(rows.length),
    svc: new Int32Array(rows.length),
    name: new Int32Array(rows.length),
    kind: new Uint8Array(rows.length),
    flags: new Uint16Array(rows.length),
  };
  rows.forEach(([parent, start, dur, svc = 0, name = 0, kind = 1, flags = 0], i) => {
    s.parent[i] = parent;
    s.start[i] = start;
    s.dur[i] = dur;
    s.svc[i] = svc;
    s.name[i] = name;
    s.kind[i] = kind;
    s.flags[i] = flags;
  });
  return s;
}

/** n spans in a random shape. Children mostly lie within their parent; some stick out, as clocks do. */
export function randomSpans(random, n, { roots = 1, depth = 12 } = {}) {
  const rows = [];
  const path = [];
  let last = -1; // the last root: only it may still get children
  let count = 0;
  for (let i = 0; i < n; i++) {
    while (path.length > 0 && (random() < 0.45 || path.length >= depth)) path.pop();
    if (path.length === 0 && (count < roots ? last >= 0 && random() < 0.9 : true) && last >= 0) path.push(last);
    if (path.length === 0) {
      last = i;
      count++;
    }
    const parent = path.length > 0 ? path[path.length - 1] : -1;
    const [lo, len] = parent < 0 ? [0, 1e9] : [rows[parent][1], rows[parent][2]];
    const dur = Math.floor(len * random());
    const start = Math.floor(lo + (len - dur) * (random() < 0.9 ? random() : random() * 2 - 0.5));
    rows.push([parent, start, dur, Math.floor(random() * 9), Math.floor(random() * 30), Math.floor(random() * 6), random() < 0.03 ? 1 : 0]);
    path.push(i);
  }
  return spansOf(rows);
}

/** The server's answers for these spans: a header and parts. */
export function answersOf(s, { id = '0'.repeat(31) + '1', part_rows = 20000, names = 40, shift = [] } = {}) {
  const header = {
    id, version: 'v1', t0: '1795257848317629375', dur: 0, spans: s.n, rows: s.n, errors: 0, depth: 0,
    parts: Math.ceil(s.n / part_rows), part_rows, complete: true, names_count: names,
    services: Array.from({ length: 9 }, (_, i) => ({ name: `service-${i}`, color: i, spans: 0, errors: 0 })),
    root: null, warnings: [],
  };
  const parts = [];
  for (let first = 0; first < s.n; first += part_rows) {
    const last = Math.min(s.n, first + part_rows);
    const cut = (a) => Array.from(a.subarray(first, last));
    parts.push({
      version: 'v1', part: parts.length, first, count: last - first,
      ids: Array.from({ length: last - first }, (_, k) => (first + k + 1).toString(16).padStart(16, 'f'.repeat(16))).map((h) => h.slice(-16)).join(''),
      parent: cut(s.parent), start: cut(s.start), dur: cut(s.dur), svc: cut(s.svc), name: cut(s.name), kind: cut(s.kind), flags: cut(s.flags),
      names_first: first === 0 ? 0 : names, names: first === 0 ? Array.from({ length: names }, (_, i) => `operation ${i}`) : [],
      shift: shift.filter(([row]) => row >= first && row < last),
    });
  }
  return { header, parts };
}
