// SPDX-License-Identifier: Apache-2.0
// The flame view: a row per depth, drawn on a canvas. The wheel zooms at the pointer, dragging pans, 0 shows the whole.
// The spans table is the same for those who cannot see it.
import { effect, useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { formatDuration } from '../lib/units.ts';
import { hueOf, isStriped } from './colors.ts';
import { flameHit, flameIndex, flameRow, type Box } from './flame.ts';
import { rgbOf, useTheme } from './minimapview.tsx';
import { isMissing, nameOf, serviceOf } from './model.ts';
import { formatOffset, ticks } from './scale.ts';
import { FLAG } from './tree.ts';
import type { TraceView } from './view.ts';

const ROW = 20;
const AXIS = 24;
const COLORS = ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7', 'err', 'edge', 'text', 'text-3', 'border', 'accent', 'surface-1', 'critical'];

type Rgb = readonly [number, number, number];
const css = (c: Rgb, alpha = 1): string => `rgba(${c[0]},${c[1]},${c[2]},${alpha})`;
/** Black or white, whichever is read better on this colour (relative luminance, WCAG 2). */
function inkOn(c: Rgb): string {
  const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff';
}

export function Flame({ view }: { view: TraceView }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const top = useSignal(0); // px scrolled down
  const hover = useSignal<{ span: number; merged: number; x: number; y: number } | null>(null);
  const { trace } = view;
  const index = useMemo(() => flameIndex(trace.spans, trace.tree), [trace]);
  const theme = useTheme();
  const drawn = useRef(new Map<number, Box[]>());

  useEffect(() => {
    const c = canvas.current!;
    const context = c.getContext('2d', { alpha: false })!;
    const rgb = rgbOf(COLORS);
    const color = (name: string): Rgb => rgb[COLORS.indexOf(name)]!;
    // Colours as text once, not once a box: there are tens of thousands of boxes in a frame.
    const fills = trace.header.services.map((_, svc) => {
      const slot = view.slots[svc];
      const base = slot === undefined ? color('edge') : rgb[hueOf(slot)]!;
      const striped = slot !== undefined && isStriped(slot);
      return { plain: css(base, striped ? 0.62 : 0.88), faded: css(base, 0.25), ink: striped ? css(color('text')) : inkOn(base) };
    });
    const unknown = { plain: css(color('edge'), 0.88), faded: css(color('edge'), 0.25), ink: css(color('text')) };
    const [errCss, criticalCss, textCss] = [css(color('err')), css(color('critical')), css(color('text'))];
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    // As much of a text as has room. All letters are taken to be as wide as the average: measuring each would cost the frame.
    context.font = font;
    const letter = context.measureText('abcdefghijklmnopqrstuvwxyz').width / 26;
    const fitted = (text: string, px: number): string => (text.length * letter <= px ? text : `${text.slice(0, Math.max(1, Math.floor(px / letter) - 1))}…`);
    let frame = 0;

    const draw = () => {
      frame = 0;
      const ratio = devicePixelRatio || 1;
      const [w, h] = [c.clientWidth, c.clientHeight];
      if (c.width !== Math.round(w * ratio) || c.height !== Math.round(h * ratio)) {
        c.width = Math.round(w * ratio);
        c.height = Math.round(h * ratio);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = css(color('surface-1'));
      context.fillRect(0, 0, w, h);
      context.font = font;
      context.textBaseline = 'middle';
      const [a, b] = view.window.peek();
      const { step, at } = ticks(a, b, w / 120);
      const largest = Math.max(Math.abs(a), Math.abs(b));
      context.fillStyle = css(color('border'), 0.7);
      for (const t of at) context.fillRect(((t - a) / (b - a)) * w, AXIS, 1, h);

      drawn.current.clear();
      const first = Math.floor(top.peek() / ROW);
      const last = Math.min(index.rows, Math.ceil((top.peek() + h - AXIS) / ROW));
      const selected = view.selected.peek();
      const matches = view.matchSet.peek();
      const critical = view.criticalMode.peek() !== 'off';
      for (let d = first; d < last; d++) {
        const boxes = flameRow(index, trace.spans, d, a, b, w);
        drawn.current.set(d, boxes);
        const y = AXIS + d * ROW - top.peek();
        for (let k = 0; k < boxes.length; k++) {
          const box = boxes[k]!;
          const i = box.span;
          // Spans that run side by side lie over each other: a name has the room up to the next one.
          const room = Math.min(box.x + box.w, boxes[k + 1]?.x ?? Infinity) - box.x;
          const isError = (trace.spans.flags[i]! & FLAG.error) !== 0;
          const fill = fills[trace.spans.svc[i]!] ?? unknown;
          const width = Math.max(box.w - (box.w > 3 ? 1 : 0), 0.75);
          const faded = matches.size > 0 && !matches.has(i);
          if (isMissing(trace, i)) {
            context.strokeStyle = css(color('edge'));
            context.setLineDash([3, 3]);
            context.strokeRect(box.x + 0.5, y + 1.5, Math.max(1, width - 1), ROW - 4);
            context.setLineDash([]);
          } else {
            context.fillStyle = faded ? fill.faded : fill.plain;
            context.fillRect(box.x, y + 1, width, ROW - 2);
          }
          if (isError) {
            context.fillStyle = errCss;
            context.fillRect(box.x, y + ROW - 4, width, 3);
          }
          if (critical && trace.critical.on[i] === 1) {
            context.fillStyle = criticalCss;
            context.fillRect(box.x, y + 1, width, 2);
          }
          if (i === selected) {
            context.strokeStyle = css(color('accent'));
            context.lineWidth = 2;
            context.strokeRect(box.x, y + 1, width, ROW - 2);
            context.lineWidth = 1;
          }
          if (box.merged === 1 && room > 36) {
            const service = room > 120 ? serviceOf(trace, i)?.name ?? '' : '';
            const name = service === '' ? nameOf(trace, i) : `${service}  ${nameOf(trace, i)}`;
            context.fillStyle = faded || isMissing(trace, i) ? textCss : fill.ink;
            context.save();
            context.beginPath();
            context.rect(box.x, y, room - 4, ROW);
            context.clip();
            context.fillText(fitted(name, room - 9), box.x + 5, y + ROW / 2);
            context.restore();
          }
        }
      }
      // The axis last: rows scroll under it.
      context.fillStyle = css(color('surface-1'));
      context.fillRect(0, 0, w, AXIS);
      context.fillStyle = css(color('text-3'));
      for (const t of at) {
        const x = ((t - a) / (b - a)) * w;
        const text = formatOffset(t, step, largest);
        const need = context.measureText(text).width;
        context.fillText(text, Math.min(x + 4, w - need - 4), AXIS / 2);
      }
      context.fillStyle = css(color('border'));
      context.fillRect(0, AXIS - 1, w, 1);
    };
    const later = () => {
      if (frame === 0) frame = requestAnimationFrame(draw);
    };
    const stop = effect(() => {
      void [view.window.value, view.selected.value, view.matches.value, view.criticalMode.value, top.value];
      later();
    });
    const resized = new ResizeObserver(later);
    resized.observe(c);
    return () => {
      stop();
      resized.disconnect();
      cancelAnimationFrame(frame);
    };
  }, [view, theme]);

  const most = (): number => Math.max(0, index.rows * ROW + AXIS + ROW - (canvas.current?.clientHeight ?? 0));
  const hit = (e: MouseEvent): { box: Box; depth: number } | null => {
    const r = canvas.current!.getBoundingClientRect();
    const y = e.clientY - r.top;
    if (y < AXIS) return null;
    const depth = Math.floor((y - AXIS + top.peek()) / ROW);
    const box = flameHit(drawn.current.get(depth) ?? [], e.clientX - r.left);
    return box === null ? null : { box, depth };
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0) return;
    const el = canvas.current!;
    el.setPointerCapture(e.pointerId);
    let [x, y] = [e.clientX, e.clientY];
    let moved = 0;
    hover.value = null;
    const move = (m: PointerEvent) => {
      moved += Math.abs(m.clientX - x) + Math.abs(m.clientY - y);
      if (moved > 4) {
        view.pan((x - m.clientX) / el.clientWidth);
        top.value = Math.max(0, Math.min(most(), top.peek() + (y - m.clientY)));
      }
      [x, y] = [m.clientX, m.clientY];
    };
    const up = (u: PointerEvent) => {
      el.removeEventListener('pointermove', move);
      if (moved > 4) return;
      const found = hit(u);
      if (found !== null) view.select(found.box.span);
    };
    el.addEventListener('pointermove', move);
    el.addEventListener('lostpointercapture', (u) => up(u as PointerEvent), { once: true });
  };
  useEffect(() => {
    const el = canvas.current!;
    const wheel = (e: WheelEvent) => {
      e.preventDefault();
      const r = el.getBoundingClientRect();
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) view.pan((e.shiftKey ? e.deltaY : e.deltaX) / r.width);
      else if (e.altKey) top.value = Math.max(0, Math.min(most(), top.peek() + e.deltaY));
      else {
        const [a, b] = view.window.peek();
        view.zoomAt(a + ((e.clientX - r.left) / r.width) * (b - a), Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 200));
      }
    };
    el.addEventListener('wheel', wheel, { passive: false });
    return () => el.removeEventListener('wheel', wheel);
  }, [view]);

  const tip = hover.value;
  const { spans: s, tree } = trace;
  return (
    <figure class="flame" aria-label={`Flame view of ${s.n} spans in ${index.rows} levels. The tab Spans has the same as a table.`}>
      <canvas
        ref={canvas}
        tabIndex={0}
        onPointerDown={down}
        onPointerMove={(e) => {
          if (e.buttons !== 0) return;
          const found = hit(e);
          const r = canvas.current!.getBoundingClientRect();
          hover.value = found === null ? null : { span: found.box.span, merged: found.box.merged, x: e.clientX - r.left, y: e.clientY - r.top };
        }}
        onPointerLeave={() => (hover.value = null)}
        onDblClick={(e) => {
          const found = hit(e);
          if (found !== null) view.zoomToSpan(found.box.span);
        }}
        onKeyDown={(e) => {
          const step = { PageDown: 10, PageUp: -10 }[e.key];
          if (step === undefined) return;
          e.preventDefault();
          top.value = Math.max(0, Math.min(most(), top.value + step * ROW));
        }}
      />
      {tip !== null && (
        <div
          class="flame-tip"
          style={{
            left: `${Math.max(4, Math.min(tip.x + 12, (canvas.current?.clientWidth ?? 0) - 330))}px`,
            top: `${tip.y + 90 > (canvas.current?.clientHeight ?? 0) ? tip.y - 76 : tip.y + 16}px`,
          }}
        >
          <b class="cut">{nameOf(trace, tip.span)}</b>
          <span class="cut dim">{serviceOf(trace, tip.span)?.name ?? ''}</span>
          <span>
            {formatDuration(s.dur[tip.span]!)}, own {formatDuration(tree.self[tip.span]!)}
          </span>
          {tip.merged > 1 && <span class="dim">the longest of {tip.merged} that share these pixels</span>}
        </div>
      )}
    </figure>
  );
}
