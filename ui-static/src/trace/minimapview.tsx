// SPDX-License-Identifier: Apache-2.0
// All spans in one strip. Dragging chooses what the waterfall shows; its edges and the bright part can be dragged on.
import { useComputed, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { onTheme, readColors } from '../charts/colors.ts';
import { formatDuration } from '../lib/units.ts';
import { hueOf, isStriped } from './colors.ts';
import { MINIMAP_ERROR } from './minimap.ts';
import { MINIMAP_HEIGHT, MINIMAP_WIDTH } from './model.ts';
import { describeZoom } from './waterfall.tsx';
import type { TraceView } from './view.ts';

/** Colours of the page's stylesheet as red, green, blue. */
export function rgbOf(names: readonly string[]): [number, number, number][] {
  const colors = readColors(names);
  return names.map((name) => {
    const [r, g, b] = colors[name]!.match(/[\d.]+/g)?.map(Number) ?? [];
    return [r ?? 128, g ?? 128, b ?? 128];
  });
}

/** Counts changes of the colours in force, so that canvases are drawn again. */
export function useTheme(): number {
  const changes = useSignal(0);
  useEffect(() => onTheme(() => changes.value++), []);
  return changes.value;
}

export function Minimap({ view }: { view: TraceView }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const strip = useRef<HTMLDivElement>(null);
  const drag = useSignal<readonly [number, number] | null>(null); // shares of the width
  const theme = useTheme();
  const { trace } = view;

  useEffect(() => {
    const c = canvas.current!;
    const context = c.getContext('2d')!;
    const colors = rgbOf(['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7', 'err', 'edge']);
    const image = context.createImageData(MINIMAP_WIDTH, MINIMAP_HEIGHT);
    for (let k = 0; k < trace.minimap.length; k++) {
      const v = trace.minimap[k]!;
      if (v === 0) continue;
      const slot = view.slots[v - 1];
      const [r, g, b] = colors[v === MINIMAP_ERROR ? 8 : slot === undefined ? 9 : hueOf(slot)]!;
      image.data.set([r, g, b, v === MINIMAP_ERROR ? 255 : slot !== undefined && isStriped(slot) ? 150 : 215], 4 * k);
    }
    context.putImageData(image, 0, 0);
    // The critical path as one line at the foot.
    const { critical } = trace;
    const scale = MINIMAP_WIDTH / (trace.hi - trace.lo);
    const [line] = rgbOf(['critical']);
    context.fillStyle = `rgb(${line!.join(',')})`;
    if (view.criticalMode.value !== 'off')
      critical.span.forEach((_, k) => {
        const y = ((critical.span[k]! + 0.5) * MINIMAP_HEIGHT) / trace.spans.n;
        const x = (critical.from[k]! - trace.lo) * scale;
        context.fillRect(x, Math.min(MINIMAP_HEIGHT - 1, Math.floor(y)), Math.max(1, (critical.to[k]! - critical.from[k]!) * scale), 1);
      });
  }, [trace, theme, view.criticalMode.value]);

  const shown = useComputed(() => {
    if (drag.value !== null) return drag.value[0] < drag.value[1] ? drag.value : ([drag.value[1], drag.value[0]] as const);
    const z = view.zoom.value;
    if (z === null) return null;
    const width = trace.hi - trace.lo;
    return [(z[0] - trace.lo) / width, (z[1] - trace.lo) / width] as const;
  });

  const shareOf = (e: PointerEvent): number => {
    const box = strip.current!.getBoundingClientRect();
    return Math.max(0, Math.min(1, (e.clientX - box.left) / box.width));
  };
  const down = (e: PointerEvent) => {
    if (e.button !== 0) return;
    const el = strip.current!;
    el.setPointerCapture(e.pointerId);
    const at = shareOf(e);
    const near = 6 / el.clientWidth;
    const now = shown.value;
    // An edge moves that edge, the bright part moves as a whole, anywhere else begins anew.
    let change: (to: number) => readonly [number, number];
    if (now !== null && Math.abs(at - now[0]) < near) change = (to) => [to, now[1]];
    else if (now !== null && Math.abs(at - now[1]) < near) change = (to) => [now[0], to];
    else if (now !== null && at > now[0] && at < now[1])
      change = (to) => {
        const by = Math.max(-now[0], Math.min(1 - now[1], to - at));
        return [now[0] + by, now[1] + by];
      };
    else change = (to) => [at, to];
    const move = (m: PointerEvent) => (drag.value = change(shareOf(m)));
    el.addEventListener('pointermove', move);
    el.addEventListener(
      'lostpointercapture',
      () => {
        el.removeEventListener('pointermove', move);
        const chosen = shown.value;
        if (drag.value !== null && chosen !== null && (chosen[1] - chosen[0]) * el.clientWidth > 3) {
          const width = trace.hi - trace.lo;
          view.setZoom([trace.lo + chosen[0] * width, trace.lo + chosen[1] * width]);
        }
        drag.value = null;
      },
      { once: true },
    );
  };

  const now = shown.value;
  const text = view.zoom.value === null ? `The whole trace, ${formatDuration(trace.hi - trace.lo)}.` : `Shown: ${describeZoom(trace, view.zoom.value)}.`;
  return (
    <div
      class="minimap"
      ref={strip}
      role="img"
      aria-label={`All spans in small. ${text}`}
      title="Drag to zoom, double click for the whole trace  0"
      onPointerDown={down}
      onDblClick={() => view.setZoom(null)}
    >
      <canvas ref={canvas} width={MINIMAP_WIDTH} height={MINIMAP_HEIGHT} />
      {now !== null && (
        <>
          <span class="minimap-dim" style={{ left: '0px', width: `${now[0] * 100}%` }} />
          <span class="minimap-dim" style={{ left: `${now[1] * 100}%`, right: '0px' }} />
          <span class="minimap-window" style={{ left: `${now[0] * 100}%`, width: `${(now[1] - now[0]) * 100}%` }} />
        </>
      )}
    </div>
  );
}
