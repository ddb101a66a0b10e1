// SPDX-License-Identifier: Apache-2.0
// Durations over time: how many spans lie in each cell, exactly, at any volume. A box chooses some of them: drag, or
// the keys. The scatter shows single traces instead, while they are few.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { timeAxis } from '../charts/axis.ts';
import { onTheme, readColors } from '../charts/colors.ts';
import { open } from '../lib/route.ts';
import { formatClock } from '../lib/time.ts';
import { formatDuration, formatRound, plural } from '../lib/units.ts';
import { countIn, durationTicks, fromUrl, heatStep, nudge, rowOf, slowBox, toUrl, type CellBox, type HeatAnswer, type UrlBox } from './heat.ts';

export const LEFT = 64;
const BOTTOM = 22;
const TOP = 6;
const COLORS = ['h0', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'err', 'text-3', 'border', 'surface-1', 'edge'];

/** A canvas that is as sharp as the screen and drawn anew on resize and change of theme. */
function useCanvas(draw: (c: CanvasRenderingContext2D, w: number, h: number, color: (name: string) => string) => void, deps: readonly unknown[]) {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const canvas = ref.current!;
    let frame = 0;
    const now = () => {
      frame = 0;
      const ratio = devicePixelRatio || 1;
      const [w, h] = [canvas.clientWidth, canvas.clientHeight];
      if (w === 0 || h === 0) return;
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
      const context = canvas.getContext('2d')!;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
      const palette = readColors(COLORS);
      draw(context, w, h, (name) => palette[name]!);
    };
    const later = () => (frame ||= requestAnimationFrame(now));
    later();
    const resized = new ResizeObserver(later);
    resized.observe(canvas);
    const stop = onTheme(later);
    return () => {
      cancelAnimationFrame(frame);
      resized.disconnect();
      stop();
    };
  }, deps);
  return ref;
}

function drawAxes(c: CanvasRenderingContext2D, w: number, h: number, color: (n: string) => string, frame: { low: number; high: number; yOf: (ns: number) => number; t0: bigint; t1: bigint }): void {
  c.textBaseline = 'middle';
  c.textAlign = 'right';
  const plot = h - BOTTOM - TOP;
  for (const v of durationTicks(frame.low, frame.high, plot / 24)) {
    const y = frame.yOf(v);
    c.fillStyle = color('border');
    c.fillRect(LEFT - 4, Math.round(y), 4, 1);
    c.fillStyle = color('text-3');
    c.fillText(formatRound(v), LEFT - 8, Math.max(TOP + 6, Math.min(h - BOTTOM - 6, y)));
  }
  const width = w - LEFT;
  c.textAlign = 'left';
  for (const { x, left, text } of timeAxis(c, frame.t0, frame.t1, width)) {
    c.fillStyle = color('text-3');
    c.fillText(text, LEFT + left, h - BOTTOM / 2);
    c.fillStyle = color('border');
    c.fillRect(Math.min(w - 1, Math.round(LEFT + x)), h - BOTTOM, 1, 4);
  }
  c.fillStyle = color('border');
  c.fillRect(LEFT, h - BOTTOM, width, 1);
  c.fillRect(LEFT - 1, TOP, 1, plot + 1);
}

export function Heatmap({ heat, box, onBox }: { heat: HeatAnswer; box: UrlBox; onBox: (box: UrlBox) => void }) {
  const frame = useRef<HTMLElement>(null);
  const dragged = useSignal<CellBox | null>(null);
  const tip = useSignal<{ x: number; y: number; text: string } | null>(null);
  const said = useSignal('');
  const rows = heat.y.length - 1;
  const t1 = BigInt(heat.t0) + BigInt(heat.step) * BigInt(heat.cols);
  const canvas = useCanvas(
    (c, w, h, color) => {
      c.clearRect(0, 0, w, h);
      const cw = (w - LEFT) / heat.cols;
      const ch = (h - BOTTOM - TOP) / rows;
      for (const [x, y, count, errors] of heat.cells) {
        const px = LEFT + x * cw;
        const py = h - BOTTOM - (y + 1) * ch;
        const [left, top] = [Math.round(px), Math.round(py)];
        const [width, height] = [Math.max(1, Math.round(px + cw) - left - (cw > 5 ? 1 : 0)), Math.max(1, Math.round(py + ch) - top - (ch > 5 ? 1 : 0))];
        c.fillStyle = color(`h${heatStep(count, heat.max)}`);
        c.fillRect(left, top, width, height);
        if (errors > 0) {
          // As wide as their share, never too small to see.
          c.fillStyle = color('err');
          c.fillRect(left, top + height - Math.min(3, height), Math.max(2, Math.round((width * errors) / count)), Math.min(3, height));
        }
      }
      drawAxes(c, w, h, color, { low: heat.y[0]!, high: heat.y[rows]!, yOf: (ns) => h - BOTTOM - rowOf(heat, ns) * ch, t0: BigInt(heat.t0), t1 });
    },
    [heat],
  );

  const cellAt = (e: PointerEvent): { x: number; y: number } => {
    const r = canvas.current!.getBoundingClientRect();
    return {
      x: Math.max(0, Math.min(heat.cols - 1e-9, ((e.clientX - r.left - LEFT) / (r.width - LEFT)) * heat.cols)),
      y: Math.max(0, Math.min(rows - 1e-9, ((r.bottom - BOTTOM - e.clientY) / (r.height - BOTTOM - TOP)) * rows)),
    };
  };
  const tell = (b: CellBox): void => {
    said.value = `Box with ${plural(countIn(heat, b), 'span')}, ${formatDuration(heat.y[Math.floor(b.y0)])} and longer`;
  };
  const choose = (b: CellBox) => {
    onBox(toUrl(heat, b));
    tell(b);
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0) return;
    const el = e.currentTarget as HTMLElement;
    el.setPointerCapture(e.pointerId);
    const from = cellAt(e);
    let moved = false;
    tip.value = null;
    const move = (m: PointerEvent) => {
      const to = cellAt(m);
      moved ||= Math.abs(m.clientX - e.clientX) + Math.abs(m.clientY - e.clientY) > 4;
      dragged.value = {
        x0: Math.floor(Math.min(from.x, to.x)),
        x1: Math.floor(Math.max(from.x, to.x)) + 1,
        y0: Math.floor(Math.min(from.y, to.y)),
        y1: Math.floor(Math.max(from.y, to.y)) + 1,
      };
    };
    el.addEventListener('pointermove', move);
    el.addEventListener(
      'lostpointercapture',
      () => {
        el.removeEventListener('pointermove', move);
        const b = dragged.value;
        dragged.value = null;
        if (moved && b !== null) choose(b);
        else if (!moved) {
          // A click takes one cell; a click on nothing lets go.
          const one = { x0: Math.floor(from.x), x1: Math.floor(from.x) + 1, y0: Math.floor(from.y), y1: Math.floor(from.y) + 1 };
          if (countIn(heat, one) > 0) choose(one);
          else onBox([]);
        }
      },
      { once: true },
    );
  };
  const shown = dragged.value ?? fromUrl(heat, box);
  const onKey = (e: KeyboardEvent) => {
    const step = ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] } as Record<string, [number, number]>)[e.key];
    if (step === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    e.stopPropagation();
    const now = fromUrl(heat, box);
    const slow = now === undefined ? slowBox(heat) : nudge(heat, now, step[0], step[1], e.shiftKey);
    if (slow !== undefined) choose(slow);
  };
  const hover = (e: PointerEvent) => {
    if (e.buttons !== 0) return;
    const { x, y } = cellAt(e);
    const cell = heat.cells.find((c) => c[0] === Math.floor(x) && c[1] === Math.floor(y));
    const r = canvas.current!.getBoundingClientRect();
    tip.value =
      cell === undefined
        ? null
        : {
            x: e.clientX - r.left,
            y: e.clientY - r.top,
            text: `${plural(cell[2], 'span')}${cell[3] > 0 ? `, ${plural(cell[3], 'error')}` : ''} of ${formatDuration(heat.y[cell[1]])} to ${formatDuration(heat.y[cell[1] + 1])} at ${formatClock(BigInt(heat.t0) + BigInt(heat.step) * BigInt(cell[0]), 0)}`,
          };
  };
  const percent = (v: number, of: number) => `${(100 * v) / of}%`;
  return (
    <figure
      ref={frame}
      class="heat"
      tabIndex={0}
      aria-label={`${plural(heat.spans, 'span')} by time and duration, ${plural(heat.errors, 'error')}. Arrow keys move a box over them, with Shift they change its size. The list below shows what lies in it.`}
      onKeyDown={onKey}
    >
      <canvas ref={canvas} aria-hidden="true" />
      <div class="heat-plot" onPointerDown={down} onPointerMove={hover} onPointerLeave={() => (tip.value = null)}>
        {shown !== undefined && (
          <span
            class="heat-box"
            style={{
              left: percent(shown.x0, heat.cols),
              width: percent(shown.x1 - shown.x0, heat.cols),
              bottom: percent(shown.y0, rows),
              height: percent(shown.y1 - shown.y0, rows),
            }}
          />
        )}
      </div>
      {tip.value !== null && (
        <div class="heat-tip" style={{ left: `${Math.max(4, Math.min(tip.value.x + 12, (canvas.current?.clientWidth ?? 400) - 280))}px`, top: `${Math.max(0, tip.value.y - 34)}px` }}>
          {tip.value.text}
        </div>
      )}
      <span class="visually-hidden" aria-live="polite">
        {said.value}
      </span>
    </figure>
  );
}

export interface Dot {
  id: string;
  start: string;
  dur: string;
  errors: number;
  root_name?: string;
  root_svc?: string;
  match_span?: string;
}

export function Scatter({ dots, from, to, q }: { dots: readonly Dot[]; from: bigint; to: bigint; q: string }) {
  const tip = useSignal<{ x: number; y: number; dot: Dot } | null>(null);
  const places = useRef<{ x: number; y: number; dot: Dot }[]>([]);
  const durs = dots.map((d) => Math.max(1, Number(d.dur)));
  const low = Math.max(1, durs.reduce((a, b) => Math.min(a, b), Infinity) * 0.8);
  const high = Math.max(low * 10, durs.reduce((a, b) => Math.max(a, b), 1) * 1.25);
  const canvas = useCanvas(
    (c, w, h, color) => {
      c.clearRect(0, 0, w, h);
      const yOf = (ns: number) => h - BOTTOM - ((Math.log(ns) - Math.log(low)) / (Math.log(high) - Math.log(low))) * (h - BOTTOM - TOP);
      drawAxes(c, w, h, color, { low, high, yOf, t0: from, t1: to });
      places.current = dots.map((dot, i) => ({ x: LEFT + (Number(BigInt(dot.start) - from) / Number(to - from)) * (w - LEFT), y: yOf(durs[i]!), dot }));
      // Errors last: they lie on top.
      for (const errors of [false, true])
        for (const p of places.current) {
          if (p.dot.errors > 0 !== errors) continue;
          c.beginPath();
          c.arc(p.x, p.y, 3.5, 0, 2 * Math.PI);
          c.globalAlpha = 0.75;
          c.fillStyle = color(errors ? 'err' : 'h5');
          c.fill();
          c.globalAlpha = 1;
          c.strokeStyle = color('surface-1');
          c.stroke();
        }
    },
    [dots, from, to],
  );
  const near = (e: MouseEvent) => {
    const r = canvas.current!.getBoundingClientRect();
    const [x, y] = [e.clientX - r.left, e.clientY - r.top];
    let best: { x: number; y: number; dot: Dot } | null = null;
    let distance = 12;
    for (const p of places.current) {
      const d = Math.hypot(p.x - x, p.y - y);
      if (d < distance) [best, distance] = [p, d];
    }
    return best;
  };
  return (
    <figure class="heat" aria-label={`${plural(dots.length, 'trace')} by time and duration. The list below has the same.`}>
      <canvas
        ref={canvas}
        onPointerMove={(e) => (tip.value = near(e))}
        onPointerLeave={() => (tip.value = null)}
        onClick={(e) => {
          const p = near(e);
          if (p !== null) open('trace', p.dot.id, { span: p.dot.match_span ?? '', a: q });
        }}
      />
      {tip.value !== null && (
        <div class="heat-tip" style={{ left: `${Math.max(4, Math.min(tip.value.x + 12, (canvas.current?.clientWidth ?? 400) - 280))}px`, top: `${Math.max(0, tip.value.y - 34)}px` }}>
          {tip.value.dot.root_svc} {tip.value.dot.root_name} · {formatDuration(BigInt(tip.value.dot.dur))}
          {tip.value.dot.errors > 0 && ` · ${plural(tip.value.dot.errors, 'error')}`}
        </div>
      )}
    </figure>
  );
}
