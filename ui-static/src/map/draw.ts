// SPDX-License-Identifier: Apache-2.0
// The map on its canvas. Lines and bodies are drawn in the graph's coordinates, batched by style; texts on the screen's.
import type { Palette } from '../charts/colors.ts';
import { formatDuration, formatPercent, formatRate } from '../lib/units.ts';
import { arrival, pointOn, type Curve } from './curves.ts';
import { ERR_SEEN, width, type Link, type Vertex } from './graph.ts';

export const COLORS = ['bg', 'surface-1', 'surface-2', 'surface-3', 'border', 'edge', 'text', 'text-2', 'text-3', 'accent',
  'accent-bg', 'err', 'err-bg'] as const;

export interface Scene {
  nodes: readonly Vertex[];
  edges: readonly Link[];
  x: Float64Array;
  y: Float64Array;
  r: Float64Array;
  curves: readonly Curve[];
  /** Nodes and edges in the order in which they are worth a label. */
  labels: readonly number[];
  edgeLabels: readonly number[];
}

export interface Camera {
  zoom: number;
  /** Where the graph's origin is on the screen, px. */
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Look {
  colors: Palette;
  sans: string;
  node: number; // selected, or -1
  edge: number;
  hoverNode: number;
  hoverEdge: number;
  /** Found nodes; null: nothing is sought. */
  found: ReadonlySet<number> | null;
  allEdges: boolean;
}

const FAINT = 0.1;
const TOLD = 0.01; // errors from here on are drawn on edges and written at nodes
const LOUD = 0.05; // from here on an edge is drawn in the colour of errors in full; below, it has a core of it

/** The outline of a node's shape, as a path of the context. */
export function outline(to: CanvasRenderingContext2D | Path2D, v: Pick<Vertex, 'kind' | 'system'>, x: number, y: number, r: number): void {
  switch (shapeOf(v)) {
    case 'square': {
      const h = r * 0.9;
      to.roundRect(x - h, y - h, 2 * h, 2 * h, 5);
      break;
    }
    case 'small': {
      const h = r * 0.72;
      to.roundRect(x - h, y - h, 2 * h, 2 * h, 2);
      break;
    }
    case 'diamond':
      to.moveTo(x, y - r);
      to.lineTo(x + r, y);
      to.lineTo(x, y + r);
      to.lineTo(x - r, y);
      to.closePath();
      break;
    case 'wide':
      to.roundRect(x - r, y - r * 0.58, 2 * r, r * 1.16, 3);
      break;
    default:
      to.moveTo(x + r, y);
      to.arc(x, y, r, 0, 2 * Math.PI);
  }
}

export type Figure = 'circle' | 'square' | 'small' | 'diamond' | 'wide';
const CACHES = /redis|memcache|valkey|dragonfly|hazelcast|ignite/i;

export function shapeOf(v: { kind: string; system: string }): Figure {
  if (v.kind === 'database') return CACHES.test(v.system) ? 'diamond' : 'square';
  if (v.kind === 'queue') return 'wide';
  if (v.kind === 'user') return 'small';
  return 'circle';
}

const ARC = 11; // px, and the round ends beyond

/** Half of a figure's height, of a radius of 1. */
export const TALL: Readonly<Record<Figure, number>> = { circle: 1, square: 0.9, small: 0.72, diamond: 1, wide: 0.58 };
/** Half of its width. */
const BROAD: Readonly<Record<Figure, number>> = { circle: 1, square: 0.9, small: 0.72, diamond: 1, wide: 1 };

/** A share of the way round a figure, clockwise from twelve o'clock, `out` px outside it; never too short to be seen as an arc. */
function ring(c: CanvasRenderingContext2D, figure: Figure, x: number, y: number, r: number, out: number, share: number): void {
  const w = r * BROAD[figure] + out, h = r * TALL[figure] + out;
  let round = 2 * Math.PI * w;
  c.beginPath();
  if (figure === 'circle') {
    c.arc(x, y, w, -Math.PI / 2, 1.5 * Math.PI);
  } else if (figure === 'diamond') {
    round = 4 * Math.hypot(w, h);
    c.moveTo(x, y - h);
    c.lineTo(x + w, y);
    c.lineTo(x, y + h);
    c.lineTo(x - w, y);
    c.closePath();
  } else {
    round = 4 * (w + h);
    c.moveTo(x, y - h);
    c.lineTo(x + w, y - h);
    c.lineTo(x + w, y + h);
    c.lineTo(x - w, y + h);
    c.lineTo(x - w, y - h);
    c.closePath();
  }
  c.setLineDash([Math.min(round, Math.max(ARC, round * share)), 2 * round]);
  c.stroke();
  c.setLineDash([]);
}

/** A rate of calls; where spans are counted for want of calls, it says so: "12 spans/s". */
export const rateOf = (of: { rate: number | null; basis?: Vertex['basis'] | undefined }): string =>
  (of.basis === 'all' ? formatRate(of.rate).replace('/', ' spans/') : formatRate(of.rate));

/** Below a node's name: "830/s · 41 ms". */
export const figures = (v: Pick<Vertex, 'rate' | 'p95' | 'upTo'> & { basis?: Vertex['basis'] }): string =>
  `${rateOf(v)}${v.p95 === null ? '' : ` · ${v.upTo ? '≤ ' : ''}${formatDuration(v.p95)}`}`;

export const edgeText = (e: Pick<Link, 'rate' | 'p95' | 'upTo' | 'err'>): string =>
  figures(e) + ((e.err ?? 0) >= TOLD ? ` · ${formatPercent(e.err)}` : '');

const widths = new Map<string, number>();
function measured(c: CanvasRenderingContext2D, text: string): number {
  const key = c.font + text;
  let w = widths.get(key);
  if (w === undefined) {
    if (widths.size > 5000) widths.clear();
    widths.set(key, (w = c.measureText(text).width));
  }
  return w;
}

/** The text, shortened in its middle to fit: names differ at both ends. */
export function fit(c: CanvasRenderingContext2D, text: string, max: number): string {
  if (measured(c, text) <= max) return text;
  const chars = Array.from(text.slice(0, 200));
  let low = 1, high = chars.length;
  const cut = (n: number): string => chars.slice(0, Math.ceil(n * 0.6)).join('') + '…' + chars.slice(chars.length - Math.floor(n * 0.4)).join('');
  while (low < high) {
    const n = (low + high + 1) >> 1;
    if (measured(c, cut(n)) <= max) low = n;
    else high = n - 1;
  }
  return cut(low);
}

function trace(path: CanvasRenderingContext2D | Path2D, c: Curve): void {
  path.moveTo(c[0]!, c[1]!);
  for (let i = 0; i < c.length; i += 8) path.bezierCurveTo(c[i + 2]!, c[i + 3]!, c[i + 4]!, c[i + 5]!, c[i + 6]!, c[i + 7]!);
}

function arrow(path: CanvasRenderingContext2D | Path2D, c: Curve, w: number): void {
  const n = c.length, x = c[n - 2]!, y = c[n - 1]!, a = arrival(c), long = 6 + 1.6 * w, half = 3 + 0.8 * w;
  const cos = Math.cos(a), sin = Math.sin(a);
  path.moveTo(x, y);
  path.lineTo(x - long * cos + half * sin, y - long * sin - half * cos);
  path.lineTo(x - long * cos - half * sin, y - long * sin + half * cos);
  path.closePath();
}

/** An edge's line and arrow, ready to be drawn, and the room they take. */
interface Stroke {
  line: Path2D;
  arrow: Path2D;
  width: number;
  dotted: boolean;
  box: Box;
}

const isLoud = (e: Link): boolean => (e.err ?? 0) >= LOUD;
/** How wide an edge's errors are drawn on it. */
const failingWidth = (e: Link): number => (isLoud(e) ? Math.max(2, Math.round(width(e.rate))) : Math.max(1, Math.round(width(e.rate) * 0.35)));

/** What does not change while one pans and zooms. */
export interface Prepared {
  strong: Stroke[];
  faint: Stroke[];
  failing: Stroke[];
}

function strokeOf(e: Link, curve: Curve, wide: number): Stroke {
  const line = new Path2D(), tip = new Path2D(), box: Box = { l: Infinity, t: Infinity, r: -Infinity, b: -Infinity };
  trace(line, curve);
  arrow(tip, curve, wide);
  for (let i = 0; i < curve.length; i += 2) {
    box.l = Math.min(box.l, curve[i]! - wide - 12);
    box.r = Math.max(box.r, curve[i]! + wide + 12);
    box.t = Math.min(box.t, curve[i + 1]! - wide - 12);
    box.b = Math.max(box.b, curve[i + 1]! + wide + 12);
  }
  return { line, arrow: tip, width: wide, dotted: e.async, box };
}

export function prepare(scene: Scene): Prepared {
  const out: Prepared = { strong: [], faint: [], failing: [] };
  scene.edges.forEach((e, i) => {
    const w = Math.round(width(e.rate));
    (e.strong ? out.strong : out.faint).push(strokeOf(e, scene.curves[i]!, w));
    if ((e.err ?? 0) >= TOLD) out.failing.push(strokeOf(e, scene.curves[i]!, failingWidth(e)));
  });
  return out;
}

/** Draws those in sight, one by one: a path of hundreds of curves takes a software canvas longer than its parts. */
function strokes(c: CanvasRenderingContext2D, list: readonly Stroke[], color: string, thin: number, sight: Box, extra = 0): void {
  c.strokeStyle = c.fillStyle = color;
  for (const b of list) {
    if (b.box.l > sight.r || b.box.r < sight.l || b.box.t > sight.b || b.box.b < sight.t) continue;
    c.lineWidth = (b.width + extra) * thin;
    c.setLineDash(b.dotted ? [0.1, 4 + b.width] : []);
    c.lineCap = b.dotted ? 'round' : 'butt';
    c.stroke(b.line);
    c.fill(b.arrow);
  }
}

function body(c: CanvasRenderingContext2D, scene: Scene, i: number, look: Look, line: number): void {
  const v = scene.nodes[i]!, x = scene.x[i]!, y = scene.y[i]!, r = scene.r[i]!, k = look.colors;
  const chosen = i === look.node, near = i === look.hoverNode;
  const dim = look.found !== null && !look.found.has(i);
  c.globalAlpha = dim ? 0.25 : v.rate === 0 || v.outside ? 0.5 : 1;
  c.lineWidth = line;
  c.strokeStyle = chosen ? k.accent! : near ? k['text-2']! : k.edge!;
  c.fillStyle = chosen ? k['accent-bg']! : near ? k['surface-2']! : (v.err ?? 0) >= TOLD ? k['err-bg']! : k['surface-1']!;
  if (v.kind === 'group') {
    // Two more rims behind: several in one.
    for (const shift of [7, 3.5]) {
      c.beginPath();
      c.arc(x + shift, y - shift, r, 0, 2 * Math.PI);
      c.fill();
      c.lineWidth = 1.25;
      c.stroke();
    }
    c.lineWidth = line;
  }
  c.setLineDash(v.kind === 'external' ? [4, 3.5] : v.kind === 'unknown' || v.kind === 'other' ? [1.5, 3.5] : []);
  c.beginPath();
  outline(c, v, x, y, r);
  c.fill();
  c.stroke();
  c.setLineDash([]);
  const err = v.err ?? 0;
  if (err >= ERR_SEEN) {
    // The share of calls that failed.
    c.strokeStyle = k.err!;
    c.lineWidth = 4;
    c.lineCap = c.lineJoin = 'round';
    ring(c, shapeOf(v), x, y, r, 4.5, Math.min(1, err));
    c.lineCap = 'butt';
    c.lineJoin = 'miter';
  }
  if (look.found?.has(i) === true) {
    c.strokeStyle = k.accent!;
    c.lineWidth = 2.5;
    c.beginPath();
    c.arc(x, y, r + 6, 0, 2 * Math.PI);
    c.stroke();
  }
  if (v.kind === 'group') {
    c.fillStyle = chosen ? k.accent! : k['text-2']!;
    c.font = `600 ${r > 17 ? 12 : 11}px ${look.sans}`;
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    c.fillText(String(v.members.length), x, y + 0.5);
  }
  c.globalAlpha = 1;
}

interface Box {
  l: number;
  t: number;
  r: number;
  b: number;
}
const meets = (a: Box, list: readonly Box[]): boolean => list.some((o) => a.l < o.r && a.r > o.l && a.t < o.b && a.b > o.t);

/** A node's words with the place they were given. */
interface Label {
  node: number;
  name: string;
  /** "830/s · 41 ms" and "2.1 %", each may be ''. */
  line: string;
  err: string;
  x: number;
  y: number;
  box: Box;
  left: number; // width of `line`
}

const nameFont = (look: Look, bold: boolean, scale: number): string => `${bold ? 600 : 400} ${12 * scale}px ${look.sans}`;
const lineFont = (look: Look, scale: number): string => `${11 * scale}px ${look.sans}`;
// Words grow a little with the zoom and never get too small to read.
const wordScale = (zoom: number): number => Math.min(1.25, Math.max(1, zoom));
/** So far out that only the worst, the groups and what is meant are named; a small map's names still find their places. */
const isFar = (scene: Scene, zoom: number): boolean => zoom < 0.5 && (scene.nodes.length > 40 || zoom < 0.3);
const isBold = (scene: Scene, look: Look, i: number): boolean => i === look.node || scene.nodes[i]!.kind === 'group';

function bodiesOf(scene: Scene, camera: Camera): Box[] {
  const out: Box[] = [];
  for (let i = 0; i < scene.nodes.length; i++) {
    const x = scene.x[i]! * camera.zoom + camera.x, y = scene.y[i]! * camera.zoom + camera.y, r = scene.r[i]! * camera.zoom;
    out.push({ l: x - r, r: x + r, t: y - r, b: y + r });
  }
  return out;
}

/** Gives places to the names, the most worthy first; what finds none is left out until one zooms in. */
function place(c: CanvasRenderingContext2D, scene: Scene, camera: Camera, look: Look, bodies: readonly Box[]): Label[] {
  const { zoom } = camera, far = isFar(scene, zoom), scale = wordScale(zoom), out: Label[] = [], taken: Box[] = [];
  const special = new Set([look.node, look.hoverNode, ...scene.labels.slice(0, 10)]);
  for (const e of scene.edges) {
    for (const own of [look.node, look.hoverNode]) if (own >= 0 && (e.s === own || e.t === own)) special.add(e.s).add(e.t);
  }
  const done = new Set<number>();
  for (const i of [look.node, look.hoverNode, ...(look.found ?? []), ...scene.labels.filter((v) => special.has(v)), ...scene.labels]) {
    if (i < 0 || done.has(i)) continue;
    done.add(i);
    const v = scene.nodes[i]!, own = i === look.node || i === look.hoverNode;
    if (far && !special.has(i) && look.found?.has(i) !== true && v.kind !== 'group') continue;
    const x = scene.x[i]! * zoom + camera.x, y = (scene.y[i]! + scene.r[i]! * TALL[shapeOf(v)]) * zoom + camera.y + 5;
    if (x < -80 || x > camera.width + 80 || y < -60 || y > camera.height + 20) continue;
    c.font = nameFont(look, isBold(scene, look, i), scale);
    const name = fit(c, v.name, own ? 320 : 132 * scale), wide = measured(c, name);
    c.font = lineFont(look, scale);
    const err = (v.err ?? 0) >= TOLD ? formatPercent(v.err) : '', right = err === '' ? 0 : measured(c, err);
    const full = zoom >= 0.62 && v.rate > 0 ? figures(v) : '';
    // With its figures; without them where they would lie on another node; its name alone where words would meet.
    for (const [line, told] of [[full, err], ['', err], ['', '']] as const) {
      const left = line === '' ? 0 : measured(c, line), both = left + (told === '' ? 0 : right) + (left > 0 && told !== '' ? 6 : 0);
      const half = Math.max(wide, both) / 2 + 2, box: Box = { l: x - half, r: x + half, t: y, b: y + 12 * scale + 2 + (both > 0 ? 11 * scale + 3 : 0) };
      const last = line === '' && told === '';
      if (meets(box, taken) && !own) {
        if (last) break;
        continue;
      }
      if (!last && !own && bodies.some((body, k) => k !== i && meets(box, [body]))) continue;
      taken.push(box);
      out.push({ node: i, name, line, err: told, x, y, box, left });
      break;
    }
  }
  return out;
}

/** Plates under the words, so that lines do not strike them through. */
function plates(c: CanvasRenderingContext2D, labels: readonly Label[], look: Look): void {
  c.fillStyle = look.colors.bg!;
  c.globalAlpha = 0.82;
  for (const { box } of labels) c.fillRect(box.l, box.t, box.r - box.l, box.b - box.t);
  c.globalAlpha = 1;
}

function write(c: CanvasRenderingContext2D, scene: Scene, labels: readonly Label[], look: Look, zoom: number): void {
  const k = look.colors, scale = wordScale(zoom);
  c.textBaseline = 'top';
  for (const { node, name, line, err, x, y, left } of labels) {
    const v = scene.nodes[node]!;
    c.globalAlpha = (look.found !== null && !look.found.has(node)) || v.rate === 0 || v.outside ? 0.6 : 1;
    c.textAlign = 'center';
    c.font = nameFont(look, isBold(scene, look, node), scale);
    c.fillStyle = node === look.node ? k.accent! : k.text!;
    c.fillText(name, x, y);
    if (line === '' && err === '') continue;
    c.font = lineFont(look, scale);
    c.textAlign = 'left';
    const gap = err !== '' && left > 0 ? 6 : 0, start = x - (left + gap + (err === '' ? 0 : measured(c, err))) / 2, below = y + 12 * scale + 3;
    c.fillStyle = k['text-3']!;
    c.fillText(line, start, below);
    c.fillStyle = k.err!;
    c.fillText(err, start + left + gap, below);
  }
  c.globalAlpha = 1;
}

function edgeWords(c: CanvasRenderingContext2D, scene: Scene, camera: Camera, look: Look, labels: readonly Label[], bodies: readonly Box[]): void {
  const { zoom } = camera, k = look.colors, taken = labels.map((l) => l.box);
  c.textAlign = 'center';
  if (isFar(scene, zoom)) return;
  c.font = `11px ${look.sans}`;
  c.textBaseline = 'middle';
  const edges = new Set([look.edge, look.hoverEdge, ...(look.node >= 0 ? [] : scene.edgeLabels.slice(0, 10))]);
  scene.edges.forEach((e, i) => {
    if (look.node >= 0 && (e.s === look.node || e.t === look.node)) edges.add(i);
  });
  for (const i of edges) {
    if (i < 0) continue;
    const e = scene.edges[i]!, wanted = i === look.edge || i === look.hoverEdge, isBad = (e.err ?? 0) >= TOLD;
    const spots = (of: string): Box[] => [0.5, 0.38, 0.62, 0.28, 0.72].map((share): Box => {
      const [mx, my] = pointOn(scene.curves[i]!, share), x = mx * zoom + camera.x, y = my * zoom + camera.y, w = measured(c, of) + 10;
      return { l: x - w / 2, r: x + w / 2, t: y - 8, b: y + 8 };
    });
    const freeFor = (of: string): Box | undefined => spots(of).find((spot) => !meets(spot, taken) && !meets(spot, bodies));
    // With its figures; where they find no place, the share that failed alone.
    let text = edgeText(e), free = freeFor(text);
    if (free === undefined && isBad && !wanted) free = freeFor(text = formatPercent(e.err));
    if (free === undefined && !wanted) continue;
    const box = free ?? spots(text)[0]!, w = box.r - box.l, x = (box.l + box.r) / 2, y = (box.t + box.b) / 2;
    taken.push(box);
    c.fillStyle = k['surface-1']!;
    c.strokeStyle = i === look.edge ? k.accent! : k.border!;
    c.lineWidth = 1;
    c.beginPath();
    c.roundRect(box.l + 0.5, box.t + 0.5, w - 1, 15, 3);
    c.fill();
    c.stroke();
    c.fillStyle = isBad ? k.err! : k['text-2']!;
    c.fillText(text, x, y + 0.5);
  }
}

/** Draws one frame. */
export function draw(c: CanvasRenderingContext2D, scene: Scene, ready: Prepared, camera: Camera, look: Look): void {
  const dpr = devicePixelRatio || 1, k = look.colors, { zoom } = camera;
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  c.clearRect(0, 0, camera.width, camera.height);
  c.setTransform(dpr * zoom, 0, 0, dpr * zoom, dpr * camera.x, dpr * camera.y);
  // Far out, lines keep a little of their width.
  const thin = Math.max(0.35, Math.min(1, zoom)) / Math.min(1, zoom);
  const sight: Box = { l: -camera.x / zoom, t: -camera.y / zoom, r: (camera.width - camera.x) / zoom, b: (camera.height - camera.y) / zoom };
  const quiet = look.node >= 0 || look.found !== null ? 0.35 : 1;
  c.globalAlpha = look.allEdges ? quiet : FAINT;
  strokes(c, ready.faint, k.edge!, thin, sight);
  c.globalAlpha = quiet;
  strokes(c, ready.strong, k.edge!, thin, sight);
  strokes(c, ready.failing, k.err!, thin, sight);
  c.globalAlpha = 1;
  scene.edges.forEach((e, i) => {
    const chosen = i === look.edge, near = i === look.hoverEdge;
    const own = look.node >= 0 && (e.s === look.node || e.t === look.node);
    const under = look.hoverNode >= 0 && (e.s === look.hoverNode || e.t === look.hoverNode);
    if (!chosen && !near && !own && !under) return;
    strokes(c, [strokeOf(e, scene.curves[i]!, Math.round(width(e.rate)))], isLoud(e) && !chosen ? k.err! : chosen || own ? k.accent! : k['text-2']!, thin, sight, chosen ? 1.5 : 0);
    if ((e.err ?? 0) >= TOLD && !isLoud(e) && !chosen) strokes(c, [strokeOf(e, scene.curves[i]!, failingWidth(e))], k.err!, thin, sight);
  });
  c.setLineDash([]);
  const bodies = bodiesOf(scene, camera), labels = place(c, scene, camera, look, bodies);
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  plates(c, labels, look);
  c.setTransform(dpr * zoom, 0, 0, dpr * zoom, dpr * camera.x, dpr * camera.y);
  for (let i = 0; i < scene.nodes.length; i++) {
    const x = scene.x[i]! * zoom + camera.x, y = scene.y[i]! * zoom + camera.y, r = (scene.r[i]! + 14) * zoom;
    if (x + r < 0 || x - r > camera.width || y + r < 0 || y - r > camera.height) continue;
    body(c, scene, i, look, Math.max(2, 1.2 / zoom));
  }
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  write(c, scene, labels, look, zoom);
  edgeWords(c, scene, camera, look, labels, bodies);
}

/** The whole graph, small, with the part that is seen. */
export function drawMinimap(c: CanvasRenderingContext2D, scene: Scene, camera: Camera, look: Look, bounds: Box, w: number, h: number): void {
  const dpr = devicePixelRatio || 1, k = look.colors;
  const scale = Math.min((w - 8) / Math.max(1, bounds.r - bounds.l), (h - 8) / Math.max(1, bounds.b - bounds.t));
  const ox = (w - (bounds.r - bounds.l) * scale) / 2 - bounds.l * scale, oy = (h - (bounds.b - bounds.t) * scale) / 2 - bounds.t * scale;
  c.setTransform(dpr, 0, 0, dpr, 0, 0);
  c.clearRect(0, 0, w, h);
  for (let i = 0; i < scene.nodes.length; i++) {
    const bad = (scene.nodes[i]!.err ?? 0) >= TOLD;
    c.fillStyle = i === look.node ? k.accent! : bad ? k.err! : k.edge!;
    c.beginPath();
    c.arc(scene.x[i]! * scale + ox, scene.y[i]! * scale + oy, Math.max(1.5, scene.r[i]! * scale), 0, 2 * Math.PI);
    c.fill();
  }
  c.strokeStyle = k.accent!;
  c.lineWidth = 1;
  c.strokeRect((-camera.x / camera.zoom) * scale + ox + 0.5, (-camera.y / camera.zoom) * scale + oy + 0.5,
    (camera.width / camera.zoom) * scale, (camera.height / camera.zoom) * scale);
}
