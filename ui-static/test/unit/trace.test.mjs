// SPDX-License-Identifier: Apache-2.0
// The trace model: shape, covered time, folding, rows, critical path, flame, minimap. Fast code is held against the
// plainest way to say the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, seeded } from '../load.mjs';
import { answersOf, randomSpans, spansOf } from './spans.mjs';

const m = await load('trace/tree.ts', 'trace/fold.ts', 'trace/criticalpath.ts', 'trace/flame.ts', 'trace/minimap.ts', 'trace/model.ts', 'trace/colors.ts');

const built = (s) => {
  const tree = m.buildTree(s);
  return { s, tree, folds: m.fold(s, tree) };
};
const chain = (n) => spansOf(Array.from({ length: n }, (_, i) => [i - 1, i, 2 * n - 2 * i]));

test('the order of the spans is checked before anything walks it', () => {
  const order = (...parent) => m.isPreorder(Int32Array.from(parent), parent.length);
  assert.ok(order());
  assert.ok(order(-1, 0, 1, 0, -1, 4));
  assert.ok(!order(0), 'its own parent');
  assert.ok(!order(-1, 2, 1), 'a cycle');
  assert.ok(!order(1, 0), 'a cycle of two');
  assert.ok(!order(-2), 'no such row');
  assert.ok(!order(-1, 0, -1, 0), 'a subtree in two pieces');
  assert.ok(!order(-1, 0, 0, 1), 'a subtree in two pieces, deeper');
  assert.ok(m.isPreorder(chain(10_000).parent, 10_000));
});

test('a tree of every shape agrees with the plain definitions', () => {
  const random = seeded(7);
  for (let round = 0; round < 60; round++) {
    const s = randomSpans(random, 1 + Math.floor(random() * 120), { roots: 1 + (round % 3) });
    assert.ok(m.isPreorder(s.parent, s.n));
    const t = m.buildTree(s);
    for (let i = 0; i < s.n; i++) {
      const below = [];
      for (let k = 0; k < s.n; k++) for (let p = s.parent[k]; p >= 0; p = s.parent[p]) if (p === i) below.push(k);
      assert.equal(t.end[i], i + 1 + below.length);
      assert.equal(t.kids[i], below.filter((k) => s.parent[k] === i).length);
      assert.equal(t.errors[i], below.filter((k) => s.flags[k] & 1).length);
      assert.equal(t.lo[i], Math.min(s.start[i], ...below.map((k) => s.start[k])));
      assert.equal(t.hi[i], Math.max(...[i, ...below].map((k) => s.start[k] + s.dur[k])));
      // Own time, moment by moment between the ends of anything.
      const kids = below.filter((k) => s.parent[k] === i && !(s.kind[i] === 4 && s.kind[k] === 5));
      const ends = [s.start[i], s.start[i] + s.dur[i]];
      for (const k of kids) ends.push(s.start[k], s.start[k] + s.dur[k]);
      ends.sort((a, b) => a - b);
      let own = 0;
      for (let e = 1; e < ends.length; e++) {
        const mid = (ends[e - 1] + ends[e]) / 2;
        const inside = mid > s.start[i] && mid < s.start[i] + s.dur[i];
        if (inside && !kids.some((k) => mid > s.start[k] && mid < s.start[k] + s.dur[k])) own += ends[e] - ends[e - 1];
      }
      assert.equal(t.self[i], own, `own time of ${i} in round ${round}`);
    }
  }
});

test('the critical path agrees with a slow reference', () => {
  // By its definition, recursively: go back from the end to the child that finished last by then.
  const reference = (s, root) => {
    const pieces = [];
    const walk = (i, lo, hi) => {
      let cursor = hi;
      const taken = new Set();
      for (;;) {
        let best = -1;
        let bestEnd = -Infinity;
        for (let c = 0; c < s.n; c++) {
          if (s.parent[c] !== i || taken.has(c) || (s.kind[i] === 4 && s.kind[c] === 5)) continue;
          const a = s.start[c];
          const b = Math.min(hi, a + s.dur[c]);
          if (!(a < hi && a + s.dur[c] > lo) || b > cursor) continue;
          if (b > bestEnd || (b === bestEnd && a > s.start[best]) || (b === bestEnd && a === s.start[best] && c > best)) [best, bestEnd] = [c, b];
        }
        if (best < 0) break;
        taken.add(best);
        if (cursor > bestEnd) pieces.push([i, bestEnd, cursor]);
        const from = Math.max(lo, s.start[best]);
        walk(best, from, bestEnd);
        cursor = from;
      }
      if (cursor > lo) pieces.push([i, lo, cursor]);
    };
    walk(root, s.start[root], s.start[root] + s.dur[root]);
    return pieces;
  };
  const random = seeded(11);
  for (let round = 0; round < 200; round++) {
    const s = randomSpans(random, 1 + Math.floor(random() * 60));
    const got = m.criticalPath(s);
    const root = m.longestRoot(s);
    const want = reference(s, root);
    const pieces = Array.from(got.span, (span, k) => [span, got.from[k], got.to[k]]);
    assert.deepEqual(pieces, want, `round ${round}`);
    assert.equal(pieces.reduce((sum, [, a, b]) => sum + b - a, 0), s.dur[root], 'together as long as the root');
  }
});

test('a consumer is never charged to its producer', () => {
  const s = spansOf([[-1, 0, 100, 0, 0, 2], [0, 10, 20, 0, 0, 4], [1, 12, 500, 1, 0, 5]]);
  const path = m.criticalPath(s);
  assert.equal(path.on[2], 0);
  assert.equal(m.buildTree(s).self[1], 20);
});

test('a chain of 10,000 spans and a wide trace of 100,000 are walked without recursion, in time', () => {
  const deep = built(chain(10_000));
  assert.equal(deep.tree.depth[9999], 9999);
  assert.equal(m.criticalPath(deep.s).on[9999], 1);
  assert.equal(m.flameIndex(deep.s, deep.tree).rows, 10_000);

  const random = seeded(3);
  const rows = [[-1, 0, 1e9]];
  for (let i = 1; i < 100_000; i++) rows.push([i % 10 === 1 ? 0 : i - 1 - ((i - 2) % 10), Math.floor(random() * 9e8), Math.floor(random() * 1e8), i % 9, i % 300]);
  const s = spansOf(rows);
  assert.ok(m.isPreorder(s.parent, s.n));
  const started = performance.now();
  const { tree, folds } = built(s);
  m.criticalPath(s);
  const took = performance.now() - started;
  assert.ok(took < 2000, `took ${took} ms`);
  const state = { collapsed: new Uint8Array(s.n), shown: new Uint32Array(folds.count), pinned: new Set() };
  assert.equal(m.visibleRows(s, tree, folds, state, m.NO_FILTER, new Uint32Array(s.n + 2 * folds.count)), s.n);
});

test('more than twenty equal leaves fold; opened, the slowest come first', () => {
  const rows = [[-1, 0, 1000]];
  for (let i = 0; i < 50; i++) rows.push([0, i, i + 1, 1, 5, 3, i === 7 ? 1 : 0]);
  for (let i = 0; i < 20; i++) rows.push([0, i, 3, 1, 6]);
  rows.push([0, 500, 9, 1, 5], [72 - 1, 501, 2]);
  const { s, tree, folds } = built(spansOf(rows));
  assert.equal(folds.count, 1);
  assert.equal(folds.sum[0], (50 * 51) / 2);
  assert.equal(folds.max[0], 50);
  assert.equal(folds.errors[0], 1);
  const state = { collapsed: new Uint8Array(s.n), shown: new Uint32Array(1), pinned: new Set() };
  const see = (filter = m.NO_FILTER) => {
    const out = new Uint32Array(s.n + 2);
    return Array.from(out.subarray(0, m.visibleRows(s, tree, folds, state, filter, out)));
  };
  assert.deepEqual(see().slice(0, 3), [0, s.n, 51]);
  assert.equal(see().length, 1 + 1 + 20 + 2);
  state.shown[0] = 20;
  assert.deepEqual(see().slice(0, 4), [0, s.n, 50, 49]);
  assert.equal(see()[22], s.n + 1, 'a row for the rest');
  assert.ok(m.reveal(state, s, folds, 3));
  assert.equal(see()[22], 3, 'the asked-for one stands before the rest');
  assert.ok(!m.reveal(state, s, folds, 3));
  state.shown[0] = 50;
  assert.equal(see().length, 1 + 1 + 50 + 20 + 2);
  state.shown[0] = 0;
  assert.deepEqual(see({ ...m.NO_FILTER, zoom: [30, 31] }).slice(0, 2), [0, s.n], 'the row moves to the first in sight');
  assert.deepEqual(see({ ...m.NO_FILTER, root: 71 }), [71, 72]);
});

test('collapsed subtrees are skipped as a plain walk would skip them', () => {
  const random = seeded(5);
  for (let round = 0; round < 80; round++) {
    const { s, tree, folds } = built(randomSpans(random, 150, { roots: 2 }));
    const state = { collapsed: Uint8Array.from({ length: s.n }, () => (random() < 0.2 ? 1 : 0)), shown: new Uint32Array(folds.count), pinned: new Set() };
    const out = new Uint32Array(s.n + 2 * folds.count);
    const got = Array.from(out.subarray(0, m.visibleRows(s, tree, folds, state, m.NO_FILTER, out)));
    const want = [];
    for (let i = 0; i < s.n; i++) {
      let hidden = false;
      for (let p = s.parent[i]; p >= 0; p = s.parent[p]) hidden ||= state.collapsed[p] === 1;
      if (!hidden) want.push(i);
    }
    assert.deepEqual(got, folds.count === 0 ? want : got);
  }
});

test('a large trace opens to what matters', () => {
  const random = seeded(9);
  const s = randomSpans(random, 5000, { depth: 9 });
  s.flags.fill(0);
  const deep = s.parent.findIndex((_, i) => { let d = 0; for (let p = s.parent[i]; p >= 0; p = s.parent[p]) d++; return d === 8; });
  s.flags[deep] = 1;
  const { tree, folds } = built(s);
  const state = m.initialRows(s, tree, folds, [], m.criticalPath(s).on);
  const out = new Uint32Array(s.n + 2 * folds.count);
  const n = m.visibleRows(s, tree, folds, state, m.NO_FILTER, out);
  const rows = out.subarray(0, n);
  assert.ok(rows.includes(deep), 'the error is in sight');
  assert.ok(n < s.n);
  for (const i of m.criticalPath(s).span) assert.ok(rows.includes(i), 'the critical path is in sight');
});

test('flame boxes cover what the spans cover, and are bounded by the pixels', () => {
  const random = seeded(13);
  const s = randomSpans(random, 4000, { depth: 6 });
  const tree = m.buildTree(s);
  const f = m.flameIndex(s, tree);
  const [lo, width] = [tree.lo[0], tree.hi[0] - tree.lo[0]];
  for (const [a, b] of [[0, 1], [0.2, 0.25], [0.5, 0.500001], [-0.1, 0.001], [0.9, 0.90001]]) {
    const [from, to] = [lo + a * width, lo + b * width];
    for (let d = 0; d < f.rows; d++) {
      const boxes = m.flameRow(f, s, d, from, to, 800);
      const inView = [];
      for (let i = 0; i < s.n; i++) if (tree.depth[i] === d && s.start[i] < to && s.start[i] + s.dur[i] >= from) inView.push(i);
      assert.equal(boxes.reduce((sum, b) => sum + b.merged, 0), inView.length);
      assert.ok(boxes.filter((b) => b.merged > 1).length <= 1600);
      for (const b of boxes) assert.ok(b.x >= 0 && b.x + b.w <= 800 + 1e-6);
    }
  }
  const one = m.flameRow(f, s, 0, 0, 1e9, 800);
  assert.equal(m.flameHit(one, one[0].x)?.span !== undefined, true);
});

test('the minimap never paints over an error', () => {
  const s = spansOf([[-1, 0, 100, 0, 0, 1, 1], [0, 0, 100, 1]]);
  const grid = m.minimapGrid(s, 0, 100, 10, 1);
  assert.deepEqual([...grid], new Array(10).fill(m.MINIMAP_ERROR));
});

test('parts are put together; what does not fit is refused', () => {
  const s = randomSpans(seeded(2), 450);
  const { header, parts } = answersOf(s, { part_rows: 100 });
  const b = new m.TraceBuilder(header);
  for (const p of parts) b.add(p);
  const t = b.build(false);
  assert.deepEqual(t.spans.parent, s.parent);
  assert.equal(m.spanId(t, 0), 'f'.repeat(15) + '1');
  assert.equal(m.rowOfId(t, m.spanId(t, 449)), 449);
  assert.equal(m.rowOfId(t, 'zz'), -1);
  assert.equal(m.nameOf(t, 1), `operation ${s.name[1]}`);
  assert.equal(m.findByName(t, 'SERVICE-3').length, s.svc.filter((v) => v === 3).length);
  const groups = m.groupSpans(t);
  assert.equal(groups.reduce((sum, g) => sum + g.count, 0), 450);

  const fresh = () => new m.TraceBuilder(header);
  assert.throws(() => fresh().add(parts[1]), m.BrokenAnswer);
  assert.throws(() => fresh().add({ ...parts[0], parent: parts[0].parent.map((p, i) => (i === 5 ? 9 : p)) }), m.BrokenAnswer);
  assert.throws(() => fresh().add({ ...parts[0], parent: parts[0].parent.map((p, i) => (i === 5 ? NaN : p)) }), m.BrokenAnswer);
  const split = fresh();
  split.add({ ...parts[0], count: 4, parent: [-1, 0, -1, 0] });
  assert.throws(() => split.build(false), m.BrokenAnswer);
});

test('corrected times move a skewed row with its subtree', () => {
  const s = spansOf([[-1, 0, 100], [0, 500, 50, 0, 0, 2, 32], [1, 510, 10], [0, 60, 10]]);
  const { header, parts } = answersOf(s, { shift: [[1, -475]] });
  const b = new m.TraceBuilder(header);
  b.add(parts[0]);
  assert.deepEqual([...b.build(false).spans.start], [0, 500, 510, 60]);
  assert.deepEqual([...b.build(true).spans.start], [0, 25, 35, 60]);
  assert.deepEqual([...b.build(false).spans.start], [0, 500, 510, 60], 'the raw times are kept');
});

test('an orphan stands under its missing parent', () => {
  const s = spansOf([[-1, 5, 20, -1, -1, 0, 1024], [0, 5, 20, 1, 2, 2, 16]]);
  const { header, parts } = answersOf(s);
  const b = new m.TraceBuilder(header);
  b.add(parts[0]);
  const t = b.build(false);
  assert.ok(m.isMissing(t, 0));
  assert.match(m.nameOf(t, 0), /^missing span f+1$/);
  assert.equal(m.serviceOf(t, 0), null);
  assert.equal(m.groupSpans(t).length, 1);
});

test('service colours clash only when there are more services than colours', () => {
  assert.deepEqual(m.colorSlots([{ color: 3 }, { color: 3 }, { color: 4 }]), [3, 4, 5]);
  const many = m.colorSlots(Array.from({ length: 40 }, () => ({ color: 15 })));
  assert.equal(new Set(many.slice(0, 16)).size, 16);
});
