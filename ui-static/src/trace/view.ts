// SPDX-License-Identifier: Apache-2.0
// What of a trace is shown: rows, zoom, selection, matches. All that a colleague would need to see the same is read
// from the URL; which rows are open and which row is active belongs to this window.
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import { navigate, params } from '../lib/route.ts';
import { colorSlots } from './colors.ts';
import { FOLD_PAGE, initialRows, NO_FILTER, reveal, visibleRows, type RowFilter, type RowState } from './fold.ts';
import { rowOfId, spanId, type Trace } from './model.ts';
import { FLAG } from './tree.ts';

export type Zoom = readonly [number, number];

export interface Rows {
  readonly codes: Uint32Array; // see fold.ts; only [0, count) count
  readonly count: number;
}

const sameZoom = (a: Zoom | null, b: Zoom | null): boolean => a === b || (a !== null && b !== null && a[0] === b[0] && a[1] === b[1]);

export class TraceView {
  private readonly changed = signal(0); // rows were opened or closed
  private state: RowState;
  private buffer: Uint32Array;
  private lastZoom: Zoom | null = null;

  /** Row code of the active row, -1 for none: where the keys are. */
  readonly active = signal(-1);
  readonly matches = signal<readonly number[]>([]);
  readonly matchSet = computed(() => new Set(this.matches.value));

  /** Events of the span whose detail is shown, ns from t0: only the detail has their times. */
  readonly events = signal<{ readonly row: number; readonly at: readonly number[] }>({ row: -1, at: [] });

  readonly slots: number[];
  readonly errors: number[];
  private readonly piecesOf = new Map<number, number[]>();
  private readonly piecesOfFold = new Map<number, number[]>();

  constructor(
    readonly trace: Trace,
    before: TraceView | undefined,
  ) {
    const { spans, tree, folds, critical } = trace;
    this.slots = colorSlots(trace.header.services);
    this.errors = [];
    for (let i = 0; i < spans.n; i++) if ((spans.flags[i]! & FLAG.error) !== 0) this.errors.push(i);
    const keep = (map: Map<number, number[]>, key: number, k: number) => {
      const list = map.get(key);
      if (list === undefined) map.set(key, [k]);
      else list.push(k);
    };
    critical.span.forEach((span, k) => {
      keep(this.piecesOf, span, k);
      if (folds.of[span]! >= 0) keep(this.piecesOfFold, folds.of[span]!, k);
    });
    this.buffer = new Uint32Array(spans.n + 2 * folds.count);
    const selected = rowOfId(trace, params('trace').span);
    this.state = initialRows(spans, tree, folds, selected < 0 ? [] : [selected], critical.on);
    if (before !== undefined && before.trace.header.version === trace.header.version) {
      // The same trace, more of it: what was opened and closed by hand stays.
      for (const [i, closed] of before.touched) if (i < spans.n) this.state.collapsed[i] = closed ? 1 : 0;
      this.touched = before.touched;
      this.active.value = before.active.peek() < before.trace.spans.n ? before.active.peek() : -1;
      this.matches.value = before.matches.peek();
    }
    if (selected >= 0) this.active.value = selected;
  }

  private readonly touched = new Map<number, boolean>();

  // ---- from the URL

  readonly zoom: ReadonlySignal<Zoom | null> = computed(() => {
    const [a, b] = params('trace').zoom.map(Number);
    const next: Zoom | null = a !== undefined && b !== undefined && b > a ? [a, b] : null;
    if (sameZoom(next, this.lastZoom)) return this.lastZoom;
    return (this.lastZoom = next);
  });
  readonly window: ReadonlySignal<Zoom> = computed(() => this.zoom.value ?? this.whole.value);
  readonly root: ReadonlySignal<number> = computed(() => {
    const id = params('trace').root;
    return id === '' ? -1 : rowOfId(this.trace, id);
  });
  readonly whole: ReadonlySignal<Zoom> = computed(() => {
    const r = this.root.value;
    const { tree } = this.trace;
    return r < 0 ? [this.trace.lo, this.trace.hi] : [tree.lo[r]!, Math.max(tree.hi[r]!, tree.lo[r]! + 1)];
  });
  readonly selected: ReadonlySignal<number> = computed(() => {
    const id = params('trace').span;
    return id === '' ? -1 : rowOfId(this.trace, id);
  });
  readonly criticalMode = computed(() => params('trace').cp);
  private readonly serviceFilter = computed(() => params('trace').svc.join('\0'));

  private readonly filter: ReadonlySignal<RowFilter> = computed(() => {
    const names = this.serviceFilter.value;
    const onlyCritical = this.criticalMode.value === 'only';
    let only: Uint8Array | null = null;
    if (onlyCritical) only = this.trace.critical.on;
    if (names !== '') {
      const wanted = new Set(names.split('\0'));
      const isWanted = this.trace.header.services.map((s) => wanted.has(s.name));
      only = Uint8Array.from(this.trace.spans.svc, (svc, i) => (isWanted[svc] === true && (only === null || only[i] === 1) ? 1 : 0));
    }
    return { ...NO_FILTER, root: this.root.value, zoom: this.zoom.value, only };
  });

  readonly rows: ReadonlySignal<Rows> = computed(() => {
    void this.changed.value;
    const { spans, tree, folds } = this.trace;
    const count = visibleRows(spans, tree, folds, this.state, this.filter.value, this.buffer);
    return { codes: this.buffer, count };
  });

  // ---- rows

  isFold = (code: number): boolean => code >= this.trace.spans.n && code < this.trace.spans.n + this.trace.folds.count;
  isMore = (code: number): boolean => code >= this.trace.spans.n + this.trace.folds.count;
  foldOf = (code: number): number => (code - this.trace.spans.n) % Math.max(1, this.trace.folds.count);
  foldSize = (g: number): number => this.trace.folds.at[g + 1]! - this.trace.folds.at[g]!;
  foldShown = (g: number): number => Math.min(this.state.shown[g]!, this.foldSize(g));

  isCollapsed = (i: number): boolean => this.state.collapsed[i] === 1 && i !== this.root.peek();

  /** Where a row stands, or -1 when it is hidden. */
  indexOf(code: number): number {
    const { codes, count } = this.rows.value;
    for (let k = 0; k < count; k++) if (codes[k] === code) return k;
    return -1;
  }

  private update(change: () => void): void {
    change();
    this.changed.value++;
  }

  toggle(code: number, open?: boolean): void {
    const { n } = this.trace.spans;
    this.update(() => {
      if (code < n) {
        const closed = open === undefined ? !this.isCollapsed(code) : !open;
        this.state.collapsed[code] = closed ? 1 : 0;
        this.touched.set(code, closed);
      } else if (this.isFold(code)) {
        const g = this.foldOf(code);
        this.state.shown[g] = (open ?? this.state.shown[g] === 0) ? FOLD_PAGE : 0;
      } else {
        const g = this.foldOf(code);
        this.state.shown[g] = this.foldShown(g) + Math.max(FOLD_PAGE, this.foldShown(g));
      }
    });
  }

  toggleAll(open: boolean): void {
    this.update(() => {
      const { tree, spans } = this.trace;
      for (let i = 0; i < spans.n; i++) this.state.collapsed[i] = open || tree.kids[i] === 0 ? 0 : 1;
      this.state.shown.fill(0);
      this.touched.clear();
    });
  }

  /** Open what hides this span. */
  show(span: number): void {
    if (reveal(this.state, this.trace.spans, this.trace.folds, span)) this.changed.value++;
  }

  /** Pieces of the critical path on a span, and on the members of a fold, the latest first. */
  piecesOn = (span: number): readonly number[] => this.piecesOf.get(span) ?? [];
  piecesOnFold = (g: number): readonly number[] => this.piecesOfFold.get(g) ?? [];

  // ---- acts

  select(span: number, how?: 'push' | 'replace'): void {
    this.active.value = span;
    const before = params('trace').span;
    const id = span < 0 ? '' : spanId(this.trace, span);
    navigate('trace', { span: id }, how ?? (before === '' && id !== '' ? 'push' : 'replace'));
  }

  goTo(span: number): void {
    this.show(span);
    this.select(span);
    const z = this.zoom.value;
    const { spans } = this.trace;
    if (z !== null && (spans.start[span]! > z[1] || spans.start[span]! + spans.dur[span]! < z[0])) this.setZoom(null);
  }

  setZoom(next: Zoom | null): void {
    const [lo, hi] = this.whole.value;
    if (next !== null) {
      // At least 10 ns wide and inside the whole.
      let [a, b] = next;
      const width = Math.min(hi - lo, Math.max(10, b - a));
      if (b - a < width) b = a + width;
      if (a < lo) [a, b] = [lo, lo + (b - a)];
      if (b > hi) [a, b] = [hi - (b - a), hi];
      a = Math.round(Math.max(lo, a));
      b = Math.round(Math.min(hi, b));
      next = b - a >= (hi - lo) * 0.999 ? null : [a, b];
    }
    navigate('trace', { zoom: next === null ? [] : next.map(String) }, 'replace');
  }

  /** Zoom by a factor around a moment. */
  zoomAt(moment: number, factor: number): void {
    const [a, b] = this.window.value;
    this.setZoom([moment - (moment - a) * factor, moment + (b - moment) * factor]);
  }

  pan(share: number): void {
    const [a, b] = this.window.value;
    if (this.zoom.value === null) return;
    const by = (b - a) * share;
    this.setZoom([a + by, b + by]);
  }

  zoomToSpan(span: number): void {
    const { spans, tree } = this.trace;
    const lo = Math.min(spans.start[span]!, tree.lo[span]!);
    const hi = Math.max(spans.start[span]! + spans.dur[span]!, tree.hi[span]!);
    const margin = Math.max(10, (hi - lo) * 0.02);
    this.setZoom([lo - margin, hi + margin]);
  }

  /** The next of these spans in the trace's order, behind the active one. */
  step(list: readonly number[], by: 1 | -1): void {
    if (list.length === 0) return;
    const at = this.active.value;
    const k = by > 0 ? list.findIndex((i) => i > at) : list.findLastIndex((i) => i < at);
    this.goTo(list[k < 0 ? (by > 0 ? 0 : list.length - 1) : k]!);
  }
}
