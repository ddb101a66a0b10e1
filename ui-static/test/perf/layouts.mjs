// SPDX-License-Identifier: Apache-2.0
// node test/perf/layouts.mjs - our layouts against two packages, on the 500-service system: time (median of five),
// crossings, overlaps, the picture's size, and the bytes each adds to the page. The packages are not dependencies:
//   npm install --no-save --ignore-scripts @dagrejs/dagre elkjs
import { build } from 'esbuild';
import { gzipSync } from 'node:zlib';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from '../load.mjs';
import { mesh } from '../fixtures/mesh.mjs';

const here = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const map = await load('map/shape.ts', 'map/flow.ts', 'map/compact.ts', 'map/graph.ts', 'map/keep.ts');
const dagre = await import('@dagrejs/dagre').then((m) => m.default ?? m, () => null);
const ELK = await import('elkjs/lib/elk.bundled.js').then((m) => m.default, () => null);

async function bytes(code) {
  const result = await build({ stdin: { contents: code, resolveDir: here, loader: 'ts' }, bundle: true, minify: true, format: 'esm', platform: 'browser', write: false, logLevel: 'silent' });
  return gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
}

function withDagre(s) {
  const g = new dagre.graphlib.Graph({ multigraph: true });
  g.setGraph({ rankdir: 'LR', nodesep: map.GAP, ranksep: 132, edgesep: 12 });
  g.setDefaultEdgeLabel(() => ({}));
  for (let v = 0; v < s.n; v++) g.setNode(String(v), { width: 2 * s.r[v], height: 2 * s.r[v] });
  for (let e = 0; e < s.from.length; e++) g.setEdge(String(s.from[e]), String(s.to[e]), { weight: 1 }, String(e));
  dagre.layout(g);
  const at = Array.from({ length: s.n }, (_, v) => g.node(String(v)));
  return {
    x: Float64Array.from(at, (p) => p.x), y: Float64Array.from(at, (p) => p.y),
    bends: Array.from(s.from, (from, e) => Float64Array.from(g.edge({ v: String(from), w: String(s.to[e]), name: String(e) }).points.slice(1, -1).flatMap((p) => [p.x, p.y]))),
  };
}

const elk = ELK === null ? null : new ELK();
async function withElk(s) {
  const done = await elk.layout({
    id: 'root', layoutOptions: { 'elk.algorithm': 'layered', 'elk.direction': 'RIGHT', 'elk.spacing.nodeNode': String(map.GAP), 'elk.layered.spacing.nodeNodeBetweenLayers': '132', 'elk.edgeRouting': 'POLYLINE' },
    children: Array.from({ length: s.n }, (_, v) => ({ id: String(v), width: 2 * s.r[v], height: 2 * s.r[v] })),
    edges: Array.from(s.from, (from, e) => ({ id: `e${e}`, sources: [String(from)], targets: [String(s.to[e])] })),
  });
  const at = new Map(done.children.map((c) => [c.id, c])), edges = new Map(done.edges.map((e) => [e.id, e]));
  return {
    x: Float64Array.from({ length: s.n }, (_, v) => at.get(String(v)).x + s.r[v]), y: Float64Array.from({ length: s.n }, (_, v) => at.get(String(v)).y + s.r[v]),
    bends: Array.from(s.from, (_, e) => Float64Array.from((edges.get(`e${e}`).sections?.[0]?.bendPoints ?? []).flatMap((p) => [p.x, p.y]))),
  };
}

const layouts = [['flow', map.flow], ['compact', map.compact], ...(dagre ? [['dagre', withDagre]] : []), ...(ELK ? [['elk', withElk]] : [])];
const answer = mesh({ services: 500 }), wish = { group: 'auto', open: new Set(), focus: '', hops: 1, dir: 'both', show: 'all' };
const whole = {
  n: answer.nodes.length, r: Float64Array.from(answer.nodes, (n) => map.radius(n.rate)), key: Int32Array.from(answer.nodes, () => 0),
  from: Int32Array.from(answer.edges, (e) => e.s), to: Int32Array.from(answer.edges, (e) => e.t), weight: Float64Array.from(answer.edges, (e) => e.rate),
};
const graphs = [
  ['grouped, as it opens', map.shapeOfView(map.view(answer, wish)).shape],
  ['ungrouped, the 120 drawn', map.shapeOfView(map.view(answer, { ...wish, group: 'none' })).shape],
  ['all nodes and edges', whole],
];
for (const [title, s] of graphs) {
  console.log(`${title}: ${s.n} nodes, ${s.from.length} edges`);
  for (const [name, run] of layouts) {
    const times = [];
    let p;
    for (let i = 0; i < 6; i++) {
      const t = performance.now();
      p = await run(s);
      if (i > 0) times.push(performance.now() - t);
    }
    times.sort((a, b) => a - b);
    const wide = Math.max(...p.x) - Math.min(...p.x), high = Math.max(...p.y) - Math.min(...p.y);
    console.log(`  ${name.padEnd(8)} ${times[2].toFixed(1).padStart(8)} ms  ${String(map.crossings(s, p)).padStart(7)} crossings (${map.crossings(s, p, true)} if straight)  ` +
      `${map.overlaps(s, p, 22)} overlaps  ${Math.round(wide)} × ${Math.round(high)} px`);
  }
}
console.log('bytes, minified and gzipped:');
for (const [name, code] of [
  ['flow', "export { flow } from './src/map/flow.ts'"], ['compact', "export { compact } from './src/map/compact.ts'"],
  ...(dagre ? [['dagre', "import d from '@dagrejs/dagre'; export const layout = d.layout; export const g = d.graphlib"]] : []),
  ...(ELK ? [['elk', "import E from 'elkjs/lib/elk.bundled.js'; export default E"]] : []),
]) console.log(`  ${name.padEnd(8)} ${await bytes(code)}`);
