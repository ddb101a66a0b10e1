// SPDX-License-Identifier: Apache-2.0
// How many records of each severity over time; dragging over it sets the range.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { timeAxis } from '../charts/axis.ts';
import { onTheme, readColors } from '../charts/colors.ts';
import { formatClock, setAbsoluteRange } from '../lib/time.ts';
import { formatCount, formatShort, plural } from '../lib/units.ts';
import { SEVERITIES } from './severity.ts';

export interface HistogramAnswer {
  t0: string;
  step: string;
  cols: number;
  severities: string[];
  n: number[][];
  total: number;
  covered_from: string;
  complete: boolean;
  scanned?: { groups: number; bytes: number };
  took_ms: number;
}

/** The worst at the bottom, where its height is read from zero. */
const ORDER = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'unset'];
const COLOR: Record<string, string> = { fatal: 'err', error: 'err', warn: 'warn', info: 'h4', debug: 'h3', trace: 'h2', unset: 'control' };
const BOTTOM = 18;
const LEFT = 44;

export function Histogram({ h }: { h: HistogramAnswer }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const brush = useSignal<readonly [number, number] | null>(null);
  const tip = useSignal<{ x: number; text: string } | null>(null);
  const sums = Array.from({ length: h.cols }, (_, x) => h.n.reduce((s, row) => s + (row[x] ?? 0), 0));
  const most = sums.reduce((a, b) => Math.max(a, b), 1);
  const step = BigInt(h.step);
  const t1 = BigInt(h.t0) + step * BigInt(h.cols);

  useEffect(() => {
    const c = canvas.current!;
    let frame = 0;
    const draw = () => {
      frame = 0;
      const ratio = devicePixelRatio || 1;
      const [w, height] = [c.clientWidth, c.clientHeight];
      c.width = Math.round(w * ratio);
      c.height = Math.round(height * ratio);
      const context = c.getContext('2d')!;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
      const color = readColors([...new Set(Object.values(COLOR)), 'text-3', 'border']);
      const plot = height - BOTTOM - 4;
      const cw = (w - LEFT) / h.cols;
      for (let x = 0; x < h.cols; x++) {
        let y = 0;
        for (const name of ORDER) {
          const n = h.n[h.severities.indexOf(name)]?.[x] ?? 0;
          if (n === 0) continue;
          const px = Math.max(1.5, (n / most) * plot);
          context.fillStyle = color[COLOR[name]!]!;
          context.fillRect(Math.round(LEFT + x * cw), height - BOTTOM - y - px, Math.max(1, Math.round(LEFT + (x + 1) * cw) - Math.round(LEFT + x * cw) - (cw > 4 ? 1 : 0)), px);
          y += px;
        }
      }
      context.fillStyle = color.border!;
      context.fillRect(LEFT, height - BOTTOM, w - LEFT, 1);
      context.fillStyle = color['text-3']!;
      context.textBaseline = 'middle';
      context.textAlign = 'right';
      context.fillText(formatShort(most), LEFT - 6, 8);
      context.fillText('0', LEFT - 6, height - BOTTOM - 4);
      context.textAlign = 'left';
      for (const { left, text } of timeAxis(context, BigInt(h.t0), t1, w - LEFT)) context.fillText(text, LEFT + left, height - BOTTOM / 2 + 1);
    };
    const later = () => (frame ||= requestAnimationFrame(draw));
    later();
    const resized = new ResizeObserver(later);
    resized.observe(c);
    const stop = onTheme(later);
    return () => {
      cancelAnimationFrame(frame);
      resized.disconnect();
      stop();
    };
  }, [h]);

  const colOf = (e: PointerEvent): number => {
    const r = canvas.current!.getBoundingClientRect();
    return Math.max(0, Math.min(h.cols - 1e-6, ((e.clientX - r.left - LEFT) / (r.width - LEFT)) * h.cols));
  };
  const percent = (x: number) => `calc(${LEFT}px + (100% - ${LEFT}px) * ${x / h.cols})`;
  const at = (x: number): bigint => BigInt(h.t0) + step * BigInt(Math.floor(x));
  const counts = SEVERITIES.map((name) => [name, h.n[h.severities.indexOf(name)]?.reduce((a, b) => a + b, 0) ?? 0] as const).filter(([, n]) => n > 0);
  return (
    <figure
      class="logs-histogram"
      aria-label={`${plural(h.total, 'record')}: ${counts.map(([name, n]) => `${formatCount(n)} ${name}`).join(', ')}. Dragging sets the range.`}
      onPointerDown={(e) => {
        if (e.button !== 0) return;
        e.currentTarget.setPointerCapture(e.pointerId);
        brush.value = [colOf(e), colOf(e)];
      }}
      onPointerMove={(e) => {
        if (brush.value !== null) {
          brush.value = [brush.value[0], colOf(e)];
          return;
        }
        const x = Math.floor(colOf(e));
        const parts = ORDER.map((name) => [name, h.n[h.severities.indexOf(name)]?.[x] ?? 0] as const).filter(([, n]) => n > 0);
        const r = canvas.current!.getBoundingClientRect();
        tip.value = parts.length === 0 ? null : { x: e.clientX - r.left, text: `${formatClock(at(x), 0)}  ${parts.map(([name, n]) => `${formatCount(n)} ${name}`).join(', ')}` };
      }}
      onLostPointerCapture={() => {
        const b = brush.value;
        brush.value = null;
        if (b === null || Math.abs(b[1] - b[0]) < 0.3) return;
        setAbsoluteRange(at(Math.min(b[0], b[1])), at(Math.max(b[0], b[1])) + step);
      }}
      onPointerLeave={() => (tip.value = null)}
    >
      <canvas ref={canvas} />
      {brush.value !== null && (
        <span class="brush" style={{ left: percent(Math.min(...brush.value)), width: `calc((100% - ${LEFT}px) * ${Math.abs(brush.value[1] - brush.value[0]) / h.cols})` }} />
      )}
      {tip.value !== null && (
        <div class="heat-tip" style={{ left: `${Math.max(4, Math.min(tip.value.x + 12, (canvas.current?.clientWidth ?? 400) - 280))}px`, top: '0px' }}>
          {tip.value.text}
        </div>
      )}
    </figure>
  );
}
