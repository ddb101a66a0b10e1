// SPDX-License-Identifier: Apache-2.0
// The waterfall: a tree grid of recycled rows, filled by hand (a component per row would render thousands of times a
// second while one scrolls). Bars are elements of the row, so that they scroll with it and never lag behind.
import { effect, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { element, VirtualList } from '../lib/virtual.ts';
import { formatCount, formatDuration, plural } from '../lib/units.ts';
import { hueOf, isStriped } from './colors.ts';
import { isMissing, nameOf, serviceOf, spanId, type Trace } from './model.ts';
import { formatOffset, ticks } from './scale.ts';
import { FLAG, KIND } from './tree.ts';
import type { TraceView, Zoom } from './view.ts';

export const ROW_PX = 24;
const INDENT_PX = 14;
const WIDE_INDENT = 10; // levels at full width; deeper ones get less, so that names keep their room
const MAX_INDENT = 24;
const MARK_PX = 6;
const MAX_PIECES = 100;
const END_PX = 64; // right of where time ends: the durations of bars that reach the end stand there

/** The time scale's part of the time column. */
const scaleOf = (column: number): number => Math.max(0, column - END_PX);

/** A log record's place on a span's bar. */
export type LogMarks = ReadonlyMap<number, readonly number[]>;

interface Parts {
  indent: HTMLElement;
  deep: HTMLElement;
  toggle: HTMLButtonElement;
  swatch: HTMLElement;
  service: HTMLElement;
  name: HTMLElement;
  note: HTMLElement;
  time: HTMLElement;
  bar: HTMLElement;
  label: HTMLElement;
  pieces: HTMLElement[]; // own time, the critical path, marks: taken in turn
}

export function Waterfall({ view, logs }: { view: TraceView; logs: LogMarks }) {
  const root = useRef<HTMLDivElement>(null);
  const width = useSignal(0); // of the time scale
  const nameWidth = useSignal(readNameWidth());

  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => {
      const time = root.current?.querySelector<HTMLElement>('.wf-axis');
      if (time) width.value = scaleOf(time.clientWidth);
    });
    watch.observe(root.current!);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    root.current!.style.setProperty('--wf-name', `${nameWidth.value}px`);
    const time = root.current!.querySelector<HTMLElement>('.wf-axis');
    if (time) width.value = scaleOf(time.clientWidth);
  }, [nameWidth.value]);

  const rowCount = view.rows.value.count;
  const active = view.active.value;
  const activeIndex = active < 0 ? -1 : view.indexOf(active);
  return (
    <div class="wf" ref={root}>
      <div class="wf-head">
        <div class="wf-head-name">
          <span>Service and operation</span>
          <button type="button" class="linklike" title="Close all  Shift ←" onClick={() => view.toggleAll(false)}>
            close all
          </button>
          <button type="button" class="linklike" title="Open all  Shift →" onClick={() => view.toggleAll(true)}>
            open all
          </button>
        </div>
        <NameHandle width={nameWidth.value} onResize={(w) => (nameWidth.value = keepNameWidth(w))} />
        <Axis view={view} width={width.value} />
      </div>
      <div class="wf-body">
        <Lines view={view} width={width.value} />
        <Grid view={view} width={width} logs={logs} rowCount={rowCount} activeIndex={activeIndex} />
      </div>
    </div>
  );
}

const NAME_KEY = 'spindle.trace.name_px';
function readNameWidth(): number {
  try {
    const w = Number(localStorage.getItem(NAME_KEY));
    if (w >= 160 && w <= 900) return w;
  } catch {
    // Storage is off.
  }
  return 380;
}
function keepNameWidth(w: number): number {
  const next = Math.round(Math.min(900, Math.max(160, w)));
  try {
    localStorage.setItem(NAME_KEY, String(next));
  } catch {
    // As above.
  }
  return next;
}

function NameHandle({ width, onResize }: { width: number; onResize: (w: number) => void }) {
  return (
    <div
      class="wf-handle"
      role="separator"
      tabIndex={0}
      aria-orientation="vertical"
      aria-label="Width of the names"
      aria-valuenow={width}
      aria-valuemin={160}
      aria-valuemax={900}
      onPointerDown={(e) => {
        const handle = e.currentTarget;
        handle.setPointerCapture(e.pointerId);
        const from = e.clientX - width;
        const move = (m: PointerEvent) => onResize(m.clientX - from);
        handle.addEventListener('pointermove', move);
        handle.addEventListener('lostpointercapture', () => handle.removeEventListener('pointermove', move), { once: true });
      }}
      onKeyDown={(e) => {
        const step = { ArrowLeft: -24, ArrowRight: 24 }[e.key];
        if (step === undefined) return;
        e.preventDefault();
        e.stopPropagation();
        onResize(width + step);
      }}
    />
  );
}

function tickPlaces(view: TraceView, width: number): { x: number; text: string }[] {
  const [a, b] = view.window.value;
  if (width <= 0) return [];
  const { step, at } = ticks(a, b, width / 110);
  const largest = Math.max(Math.abs(a), Math.abs(b));
  return at.map((t) => ({ x: ((t - a) / (b - a)) * width, text: formatOffset(t, step, largest) }));
}

/** The time axis; dragging over it zooms. */
function Axis({ view, width }: { view: TraceView; width: number }) {
  const brush = useSignal<readonly [number, number] | null>(null);
  const xOf = (e: PointerEvent): number => {
    const box = (e.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.max(0, Math.min(width, e.clientX - box.left));
  };
  const done = () => {
    const now = brush.value;
    brush.value = null;
    if (now === null || Math.abs(now[1] - now[0]) < 3) return;
    const [a, b] = view.window.value;
    const [x0, x1] = now[0] < now[1] ? now : [now[1], now[0]];
    view.setZoom([a + (x0 / width) * (b - a), a + (x1 / width) * (b - a)]);
  };
  return (
    <div
      class="wf-axis"
      title="Drag to zoom, double click for the whole trace"
      onPointerDown={(e) => {
        if (e.button !== 0) return;
        e.currentTarget.setPointerCapture(e.pointerId);
        brush.value = [xOf(e), xOf(e)];
      }}
      onPointerMove={(e) => {
        if (brush.value !== null) brush.value = [brush.value[0], xOf(e)];
      }}
      onLostPointerCapture={done}
      onDblClick={() => view.setZoom(null)}
    >
      {tickPlaces(view, width).map((t) => (
        <span key={t.text} class={`wf-tick ${t.x + 8 + t.text.length * 6.4 > width + END_PX ? 'last' : ''}`} style={{ transform: `translateX(${t.x}px)` }}>
          {t.text}
        </span>
      ))}
      {brush.value !== null && (
        <span
          class="brush"
          style={{ left: `${Math.min(...brush.value)}px`, width: `${Math.abs(brush.value[1] - brush.value[0])}px` }}
        />
      )}
    </div>
  );
}

function Lines({ view, width }: { view: TraceView; width: number }) {
  return (
    <div class="wf-lines" aria-hidden="true">
      {tickPlaces(view, width).map((t) => (
        <span key={t.text} style={{ transform: `translateX(${t.x}px)` }} />
      ))}
    </div>
  );
}

function Grid({
  view,
  width,
  logs,
  rowCount,
  activeIndex,
}: {
  view: TraceView;
  width: { readonly value: number };
  logs: LogMarks;
  rowCount: number;
  activeIndex: number;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualList<HTMLDivElement> | null>(null);
  const latestLogs = useRef(logs);
  latestLogs.current = logs;

  useLayoutEffect(() => {
    const filler = new RowFiller(view, () => width.value, () => latestLogs.current);
    const made = new VirtualList<HTMLDivElement>(scroller.current!, body.current!, filler);
    list.current = made;
    let shownActive = view.active.peek();
    let shownZoom = view.zoom.peek();
    const first = shownActive >= 0;
    const stop = effect(() => {
      // All that a row shows.
      const { count } = view.rows.value;
      void view.window.value;
      void view.selected.value;
      void view.matches.value;
      void view.criticalMode.value;
      void view.events.value;
      void width.value;
      const active = view.active.value;
      made.setCount(count);
      // Rows come and go with the zoom: the active one stays in sight.
      if (active === shownActive && view.zoom.peek() === shownZoom) return;
      shownActive = active;
      shownZoom = view.zoom.peek();
      const at = active < 0 ? -1 : view.indexOf(active);
      if (at >= 0) made.reveal(at);
    });
    if (first) {
      const at = view.indexOf(shownActive);
      if (at >= 0) made.reveal(at);
    }
    return () => {
      stop();
      made.destroy();
      body.current?.replaceChildren();
    };
  }, [view]);
  useEffect(() => list.current?.refill(), [logs]);

  const codeAt = (target: EventTarget | null): number => {
    const row = (target as Element | null)?.closest<HTMLElement>('.wf-row');
    return row === null || row === undefined ? -1 : Number(row.dataset.code);
  };
  const click = (e: MouseEvent) => {
    const code = codeAt(e.target);
    if (code < 0) return;
    const isToggle = (e.target as Element).closest('.wf-toggle') !== null;
    if (isToggle || code >= view.trace.spans.n) {
      view.active.value = code;
      view.toggle(code);
    } else view.select(code);
  };
  const wheel = (e: WheelEvent) => {
    const box = scroller.current!.getBoundingClientRect();
    const left = box.left + scroller.current!.clientWidth - width.value - END_PX;
    const [a, b] = view.window.peek();
    if (e.ctrlKey || e.metaKey) {
      e.preventDefault();
      const at = a + (Math.max(0, Math.min(width.value, e.clientX - left)) / Math.max(1, width.value)) * (b - a);
      view.zoomAt(at, Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 150));
    } else if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) {
      if (view.zoom.peek() === null) return;
      e.preventDefault();
      view.pan((e.shiftKey ? e.deltaY : e.deltaX) / Math.max(1, width.value));
    }
  };
  useEffect(() => {
    // Not passive: a zoom must not scroll.
    const el = scroller.current!;
    el.addEventListener('wheel', wheel, { passive: false });
    return () => el.removeEventListener('wheel', wheel);
  }, [view]);

  return (
    <div
      id="trace-rows"
      class="wf-scroll"
      ref={scroller}
      role="treegrid"
      tabIndex={0}
      aria-label="Spans"
      aria-rowcount={rowCount}
      aria-colcount={2}
      aria-activedescendant={activeIndex < 0 ? undefined : `wf-row-${activeIndex}`}
      onClick={click}
      onDblClick={(e) => {
        const code = codeAt(e.target);
        const isToggle = (e.target as Element).closest('.wf-toggle') !== null;
        if (code >= 0 && code < view.trace.spans.n && !isToggle) view.zoomToSpan(code);
      }}
    >
      <div class="wf-rows" role="rowgroup" ref={body} />
    </div>
  );
}

class RowFiller {
  readonly rowHeight = ROW_PX;
  private readonly parts = new WeakMap<HTMLElement, Parts>();

  constructor(
    private readonly view: TraceView,
    private readonly width: () => number,
    private readonly logs: () => LogMarks,
  ) {}

  make(): HTMLDivElement {
    const row = element('div', 'wf-row');
    row.setAttribute('role', 'row');
    const left = element('div', 'wf-name');
    left.setAttribute('role', 'gridcell');
    const toggle = element('button', 'wf-toggle');
    toggle.type = 'button';
    toggle.tabIndex = -1;
    const p: Parts = {
      indent: element('span', 'wf-indent'),
      deep: element('span', 'wf-deep'),
      toggle,
      swatch: element('span', 'wf-swatch'),
      service: element('span', 'wf-service'),
      name: element('span', 'wf-op'),
      note: element('span', 'wf-note'),
      time: element('div', 'wf-time'),
      bar: element('div', 'wf-bar'),
      label: element('span', 'wf-label'),
      pieces: [],
    };
    left.append(p.indent, p.deep, p.toggle, p.swatch, p.service, p.name, p.note);
    p.time.setAttribute('role', 'gridcell');
    p.time.append(p.bar, p.label);
    row.append(left, p.time);
    this.parts.set(row, p);
    return row;
  }

  fill(row: HTMLDivElement, index: number): void {
    const { view } = this;
    const code = view.rows.peek().codes[index]!;
    const p = this.parts.get(row)!;
    row.id = `wf-row-${index}`;
    row.dataset.code = String(code);
    row.setAttribute('aria-rowindex', String(index + 1));
    row.classList.toggle('active', view.active.peek() === code);
    for (const piece of p.pieces) piece.hidden = true;
    if (code < view.trace.spans.n) this.fillSpan(row, p, code);
    else this.fillFold(row, p, code);
  }

  private indent(row: HTMLElement, p: Parts, depth: number): void {
    const shown = Math.min(depth, MAX_INDENT);
    p.indent.style.width = `${Math.min(shown, WIDE_INDENT) * INDENT_PX + Math.max(0, shown - WIDE_INDENT) * 4}px`;
    p.deep.textContent = depth > MAX_INDENT ? String(depth) : '';
    row.setAttribute('aria-level', String(depth + 1));
  }

  private paint(row: HTMLElement, svc: number): void {
    const slot = this.view.slots[svc];
    row.style.setProperty('--c', slot === undefined ? 'var(--edge)' : `var(--s${hueOf(slot)})`);
    row.classList.toggle('striped', slot !== undefined && isStriped(slot));
  }

  private fillSpan(row: HTMLElement, p: Parts, i: number): void {
    const { view } = this;
    const t = view.trace;
    const { spans: s, tree } = t;
    const flags = s.flags[i]!;
    const missing = isMissing(t, i);
    const isOpen = tree.kids[i]! > 0 && !view.isCollapsed(i);
    const isError = (flags & FLAG.error) !== 0;
    row.className = `wf-row${view.active.peek() === i ? ' active' : ''}${missing ? ' missing' : ''}${isError ? ' error' : ''}`;
    row.classList.toggle('match', view.matchSet.peek().has(i));
    row.classList.toggle('member', t.folds.of[i]! >= 0);
    const isSelected = view.selected.peek() === i;
    row.setAttribute('aria-selected', String(isSelected));
    if (tree.kids[i]! > 0) row.setAttribute('aria-expanded', String(isOpen));
    else row.removeAttribute('aria-expanded');
    this.indent(row, p, tree.depth[i]! + (t.folds.of[i]! >= 0 ? 1 : 0));
    this.paint(row, s.svc[i]!);

    p.toggle.textContent = tree.kids[i]! > 0 ? (isOpen ? '▾' : '▸') : '';
    p.toggle.disabled = tree.kids[i] === 0;
    p.toggle.setAttribute('aria-label', isOpen ? 'Close' : 'Open');
    const service = serviceOf(t, i)?.name ?? '';
    const parent = s.parent[i]!;
    p.service.textContent = missing ? '' : service;
    p.service.classList.toggle('same', parent >= 0 && s.svc[parent] === s.svc[i]);
    const name = nameOf(t, i);
    p.name.textContent = name;
    p.note.className = 'wf-note';
    p.note.textContent = '';
    if (!isOpen && tree.kids[i]! > 0) {
      p.note.textContent = `+${formatCount(tree.end[i]! - i - 1)}`;
      if (tree.errors[i]! > 0) {
        p.note.className = 'wf-note err';
        p.note.textContent += ` ✖ ${formatCount(tree.errors[i]!)}`;
      }
    }
    if (isError) {
      p.note.className = 'wf-note err';
      p.note.textContent = (p.note.textContent + ' ✖').trim();
    }
    row.title = missing
      ? `${name}: its children name it as their parent, but it has not arrived.`
      : `${service}  ${name}\n${formatDuration(s.dur[i]!)}, own ${formatDuration(tree.self[i]!)}`;
    this.drawBar(p, i);
  }

  private fillFold(row: HTMLElement, p: Parts, code: number): void {
    const { view } = this;
    const t = view.trace;
    const g = view.foldOf(code);
    const first = t.folds.first[g]!;
    const size = view.foldSize(g);
    const shown = view.foldShown(g);
    const isMore = view.isMore(code);
    row.className = `wf-row fold${view.active.peek() === code ? ' active' : ''}`;
    row.removeAttribute('aria-selected');
    row.setAttribute('aria-expanded', String(!isMore && shown > 0));
    this.indent(row, p, t.tree.depth[first]! + (isMore ? 1 : 0));
    this.paint(row, t.spans.svc[first]!);
    p.toggle.disabled = false;
    p.toggle.setAttribute('aria-label', isMore ? 'Show more' : shown > 0 ? 'Close' : 'Open');
    p.service.classList.remove('same');
    p.note.className = 'wf-note';
    if (isMore) {
      p.toggle.textContent = '▾';
      p.service.textContent = '';
      p.name.textContent = `${formatCount(size - shown)} more, faster ones`;
      p.note.textContent = '';
      p.bar.hidden = true;
      p.label.textContent = '';
      row.title = '';
      return;
    }
    p.toggle.textContent = shown > 0 ? '▾' : '▸';
    p.service.textContent = serviceOf(t, first)?.name ?? '';
    p.name.textContent = `${nameOf(t, first)} × ${formatCount(size)}`;
    const errors = t.folds.errors[g]!;
    p.note.textContent = errors > 0 ? `✖ ${formatCount(errors)}` : '';
    if (errors > 0) p.note.className = 'wf-note err';
    const label = `${formatDuration(t.folds.sum[g]!)} in all, longest ${formatDuration(t.folds.max[g]!)}`;
    row.title = `${plural(size, 'span')} like this: ${label}${errors > 0 ? `, ${plural(errors, 'error')}` : ''}`;
    const box = this.place(t.folds.lo[g]!, t.folds.hi[g]!);
    p.bar.hidden = box === null;
    if (box === null) {
      p.label.textContent = '';
      return;
    }
    const isRoom = this.width() > 520 && this.sideOf(box, label) !== 'on';
    p.label.textContent = isRoom ? label : formatDuration(t.folds.sum[g]!);
    put(p.bar, box.x, box.w);
    p.bar.className = 'wf-bar folded';
    // Where its members are: merged under a pixel, like anything else.
    const members = t.folds.members.subarray(t.folds.at[g]!, t.folds.at[g + 1]!);
    const columns = new Set<number>();
    for (const m of members) {
      const at = this.place(t.spans.start[m]!, t.spans.start[m]! + t.spans.dur[m]!);
      if (at !== null) columns.add(Math.round(at.x / 3));
      if (columns.size >= MAX_PIECES) break;
    }
    let k = 0;
    for (const c of columns) put(this.piece(p, k++, 'wf-self'), c * 3, 2);
    this.drawCritical(p, view.piecesOnFold(g), k);
    this.placeLabel(p, box);
  }

  private place(from: number, to: number): { x: number; w: number } | null {
    const [a, b] = this.view.window.peek();
    if (to < a || from > b) return null;
    const scale = this.width() / (b - a);
    const x0 = Math.max(0, (from - a) * scale);
    const x1 = Math.min(this.width(), (to - a) * scale);
    return { x: Math.min(x0, this.width() - 2), w: Math.max(2, x1 - x0) };
  }

  /** The pieces of the critical path among these, merged where they share pixels. `pieces` run from the latest back. */
  private drawCritical(p: Parts, pieces: readonly number[], k: number): number {
    if (this.view.criticalMode.peek() === 'off') return k;
    const { critical } = this.view.trace;
    let open: { x: number; end: number } | null = null;
    const flush = () => {
      if (open !== null) put(this.piece(p, k++, 'wf-critical'), open.x, Math.max(1, open.end - open.x));
    };
    for (const piece of pieces) {
      const at = this.place(critical.from[piece]!, critical.to[piece]!);
      if (at === null) continue;
      if (open !== null && open.x - (at.x + at.w) < 1) {
        open.x = Math.min(open.x, at.x);
        continue;
      }
      flush();
      open = { x: at.x, end: at.x + at.w };
      if (k > 2 * MAX_PIECES) return k;
    }
    flush();
    return k;
  }

  /** Moments on the bar; near ones are one. */
  private drawMarks(p: Parts, moments: readonly number[], className: string, k: number): number {
    const [a, b] = this.view.window.peek();
    const scale = this.width() / (b - a);
    let last = -Infinity;
    for (const t of moments) {
      const x = (t - a) * scale;
      if (t < a || t > b || x - last < MARK_PX) continue;
      last = x;
      put(this.piece(p, k++, className), x - MARK_PX / 2, 0);
    }
    return k;
  }

  private piece(p: Parts, k: number, className: string): HTMLElement {
    let piece = p.pieces[k];
    if (piece === undefined) {
      piece = element('span');
      p.pieces.push(piece);
      p.time.insertBefore(piece, p.label);
    }
    piece.className = className;
    piece.hidden = false;
    return piece;
  }

  private drawBar(p: Parts, i: number): void {
    const { view } = this;
    const { spans: s, tree } = view.trace;
    const from = s.start[i]!;
    const to = from + s.dur[i]!;
    const box = this.place(from, to);
    p.bar.hidden = box === null;
    if (box === null) {
      p.label.textContent = '';
      return;
    }
    const width = this.width();
    p.bar.className = 'wf-bar';
    put(p.bar, box.x, box.w);
    let k = 0;
    // Own time: what no child covers, between the covered pieces. Gaps under a pixel are left out.
    const [a, b] = view.window.peek();
    const scale = width / (b - a);
    const c1 = tree.covAt[i + 1]!;
    let at = Math.max(from, a);
    for (let c = firstEndingAfter(tree.covTo, tree.covAt[i]!, c1, at); c <= c1 && k < MAX_PIECES; c++) {
      const next = c < c1 ? Math.min(tree.covFrom[c]!, b) : Math.min(to, b);
      const w = (next - at) * scale;
      if (w >= 1 || (c1 === tree.covAt[i]! && next >= at)) put(this.piece(p, k++, 'wf-self'), Math.min((at - a) * scale, width - 2), Math.max(2, w));
      if (c >= c1 || tree.covFrom[c]! >= b) break;
      // Skip covered pieces that end within the same pixel.
      at = Math.max(at, tree.covTo[c]!);
      if (at >= b) break;
    }
    k = this.drawCritical(p, view.piecesOn(i), k);
    const events = view.events.peek();
    k = this.drawMarks(p, this.logs().get(i) ?? [], 'wf-log', k);
    k = this.drawMarks(p, events.row === i ? events.at : [], 'wf-event', k);
    const flags = s.flags[i]!;
    p.label.textContent =
      formatDuration(s.dur[i]!) +
      ((flags & FLAG.events) !== 0 && events.row !== i ? ' ◆' : '') +
      ((flags & FLAG.logs) !== 0 && !this.logs().has(i) ? ' ○' : '') +
      ((flags & FLAG.skewed) !== 0 ? ' ◷' : '') +
      (s.kind[i] === KIND.producer || s.kind[i] === KIND.consumer ? ' ⇢' : '');
    this.placeLabel(p, box);
  }

  /** Behind the bar where there is room, else before it, else at the column's end, where it covers least of the bar. */
  private sideOf(box: { x: number; w: number }, text: string): 'after' | 'before' | 'on' {
    const need = text.length * 6.2 + 10;
    if (box.x + box.w + need <= this.width() + END_PX) return 'after';
    return box.x >= need ? 'before' : 'on';
  }

  private placeLabel(p: Parts, box: { x: number; w: number }): void {
    const side = this.sideOf(box, p.label.textContent!);
    const { style } = p.label;
    p.label.classList.toggle('on', side === 'on');
    style.left = side === 'after' ? `${box.x + box.w + 2}px` : 'auto';
    style.right = side === 'after' ? 'auto' : side === 'on' ? '2px' : `${this.width() + END_PX - box.x + 2}px`;
  }
}

function put(e: HTMLElement, x: number, w: number): void {
  e.style.transform = `translateX(${x}px)`;
  if (w > 0) e.style.width = `${w}px`;
}

/** The first of the sorted covered pieces that ends after t. */
function firstEndingAfter(to: Float64Array, from: number, end: number, t: number): number {
  let a = from;
  let b = end;
  while (a < b) {
    const m = (a + b) >> 1;
    if (to[m]! <= t) a = m + 1;
    else b = m;
  }
  return a;
}

export const describeZoom = (trace: Trace, z: Zoom): string => `${formatDuration(z[1] - z[0])} of ${formatDuration(trace.hi - trace.lo)}`;
export const rowLabel = (trace: Trace, i: number): string => `${serviceOf(trace, i)?.name ?? ''} ${nameOf(trace, i)} ${spanId(trace, i)}`;
