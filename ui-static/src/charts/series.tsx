// SPDX-License-Identifier: Apache-2.0
// Series over time: uPlot draws, this gives it our axes, one cursor for charts of one group, a brush, keys and words.
import uPlot from 'uplot';
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { formatClock, formatDay, SECOND } from '../lib/time.ts';
import { onTheme, readColors } from './colors.ts';
import { roundUp, timeLabels, timeTicks } from './axis.ts';

export interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** A token: 'accent', 'err', 's3'. */
  readonly color: string;
  readonly width?: number;
  readonly dash?: readonly number[];
  readonly fill?: string;
  /** Not in the readout. */
  readonly quiet?: boolean;
}

export interface ChartProps {
  title: string;
  /** For readers: what the chart shows, in a sentence. */
  summary: string;
  t0: string;
  step_s: number;
  /** In the order of their weight: named so, and drawn so that the first lie on top, filled ones below all. */
  lines: readonly Line[];
  format: (value: number | null | undefined) => string;
  /** Calls behind each point: shown with the point, which is grey under `few`. */
  counts?: readonly number[];
  few?: number;
  /** What `counts` counts: 'call' unless told. */
  unit?: string;
  bound?: number;
  /** Charts of one group share their cursor. */
  group: string;
  height?: number;
  /** Another chart below has the times. */
  bare?: boolean;
  least?: number; // the top is at least this
  onBrush?: (from: bigint, to: bigint) => void;
  onOpen?: (from: bigint, to: bigint) => void;
  /** What stands in the readout while no point is under the cursor. */
  totals?: readonly (number | null)[];
}

/** uPlot's own signature has a third argument: tell the charts of the group. */
type SetCursor = (at: { left: number; top: number }, fire: boolean, tell: boolean) => void;
const point = (u: uPlot, left: number, top: number): void => (u.setCursor as unknown as SetCursor)({ left, top }, true, true);

const heightOf = (props: ChartProps): number => (props.height ?? 148) - (props.bare === true ? 16 : 0);

const AXIS = 68; // px for the numbers on the left: equal everywhere, so that charts align

/** Points with too few calls are drawn apart: `main` leaves them out, `weak` has them and what joins them. */
export function parted(values: readonly (number | null)[], counts: readonly number[], few: number): { main: (number | null)[]; weak: (number | null)[] } {
  const thin = values.map((_, i) => (counts[i] ?? 0) < few);
  return {
    main: values.map((v, i) => (thin[i] ? null : v)),
    weak: values.map((v, i) => {
      const joins = (k: number): boolean => thin[k] === true && (values[k] ?? null) !== null;
      return thin[i] || joins(i - 1) || joins(i + 1) ? v : null;
    }),
  };
}

export function Chart(props: ChartProps) {
  const { title, lines, format, counts, t0, step_s } = props;
  const root = useRef<HTMLElement>(null), plot = useRef<uPlot | null>(null), latest = useRef(props);
  latest.current = props;
  const at = useSignal(-1);
  const theme = useSignal(0);
  const start = BigInt(t0), n = lines[0]?.values.length ?? 0;
  const few = props.few ?? 20;
  const spanOf = (i: number): [bigint, bigint] => [start + BigInt(i * step_s) * SECOND, start + BigInt((i + 1) * step_s) * SECOND];

  useEffect(() => onTheme(() => theme.value++), []);
  // The plot is built anew when its lines are others, or the theme; new values only replace the old.
  const ordered = [...lines.filter((l) => l.fill !== undefined), ...lines.filter((l) => l.fill === undefined).reverse()];
  const build = JSON.stringify([ordered.map(({ values: _, ...look }) => look), counts === undefined, props.bare === true, heightOf(props)]);
  const valuesOf = (): uPlot.AlignedData => {
    const x = Array.from({ length: n }, (_, i) => i * step_s);
    const ys = ordered.flatMap((line): (number | null)[][] => {
      if (counts === undefined) return [line.values as (number | null)[]];
      const { main, weak } = parted(line.values, counts, few);
      return [weak, main];
    });
    return [x, ...ys] as uPlot.AlignedData;
  };
  const shown = useRef<readonly Line[] | null>(null);
  useLayoutEffect(() => {
    const tokens = readColors([...new Set(['text-3', 'border', ...lines.flatMap((l) => [l.color, ...(l.fill ? [l.fill] : [])])])]);
    const font = `11px ${getComputedStyle(root.current!).fontFamily}`;
    const look = (line: Line, color: string, width: number, isMain: boolean): uPlot.Series => ({
      label: line.label, stroke: color, width, spanGaps: false, points: { show: (u, s) => lonely(u.data[s]!), size: 4, fill: color, stroke: color },
      ...(line.dash ? { dash: [...line.dash] } : {}), ...(isMain && line.fill !== undefined ? { fill: tokens[line.fill]! } : {}),
    });
    const series = ordered.flatMap((line) => [
      ...(counts === undefined ? [] : [look(line, tokens['text-3']!, 1, false)]), look(line, tokens[line.color]!, line.width ?? 1.5, true),
    ]);
    const box = root.current!.querySelector<HTMLElement>('.chart-box')!;
    const startNow = (): bigint => BigInt(latest.current.t0);
    const u = new uPlot({
      width: Math.max(120, box.clientWidth), height: heightOf(props),
      padding: [8, 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range: (_u, min, max) => [min, max > min ? max : min + latest.current.step_s] },
        y: { range: (_u, _min, max) => [0, roundUp(Math.max(max ?? 0, latest.current.least ?? 0))] },
      },
      axes: [
        {
          stroke: tokens['text-3']!, font, size: props.bare === true ? 8 : 24, gap: 4, grid: { stroke: tokens.border!, width: 1 }, ticks: { show: false },
          splits: (self, _axis, min, max) => timeTicks(startNow(), min, max, Math.floor(self.bbox.width / devicePixelRatio / 84)),
          values: (_u, ticks) => (props.bare === true ? ticks.map(() => '') : timeLabels(startNow(), ticks)),
        },
        {
          stroke: tokens['text-3']!, font, size: AXIS, gap: 8, grid: { stroke: tokens.border!, width: 1 }, ticks: { show: false },
          splits: (_u, _axis, _min, max) => [0, max / 2, max], values: (_u, ticks) => ticks.map((v) => (v === 0 ? '0' : latest.current.format(v))),
        },
      ],
      series: [{}, ...series],
      cursor: {
        sync: { key: props.group, setSeries: false }, y: false, points: { size: 6, width: 0 },
        drag: { x: props.onBrush !== undefined, y: false, setScale: false, dist: 5 },
      },
      hooks: {
        setCursor: [(self) => (at.value = self.cursor.left !== undefined && self.cursor.left >= 0 ? self.cursor.idx ?? -1 : -1)],
        setSelect: [(self) => {
          const { left, width } = self.select;
          if (width < 4) return;
          const from = Math.max(0, self.posToVal(left, 'x')), to = self.posToVal(left + width, 'x');
          self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          latest.current.onBrush?.(startNow() + BigInt(Math.floor(from)) * SECOND, startNow() + BigInt(Math.ceil(to)) * SECOND);
        }],
      },
    }, valuesOf(), box);
    plot.current = u;
    shown.current = lines;
    let pressed = -1;
    u.over.addEventListener('pointerdown', (e) => (pressed = e.clientX));
    u.over.addEventListener('click', (e) => {
      const i = u.cursor.idx, step = BigInt(latest.current.step_s) * SECOND;
      if (Math.abs(e.clientX - pressed) >= 5 || i === null || i === undefined || i < 0) return;
      latest.current.onOpen?.(startNow() + BigInt(i) * step, startNow() + BigInt(i + 1) * step);
    });
    const resized = new ResizeObserver(() => {
      if (box.clientWidth > 0 && box.clientWidth !== u.width) u.setSize({ width: box.clientWidth, height: heightOf(latest.current) });
    });
    resized.observe(box);
    return () => {
      resized.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [build, theme.value]);
  useLayoutEffect(() => {
    if (plot.current === null || shown.current === lines) return;
    shown.current = lines;
    plot.current.setData(valuesOf());
  }, [lines, t0, step_s]);

  /** Moves the cursor of all the group's charts. */
  const moveTo = (i: number): void => {
    const u = plot.current;
    if (u === null || n === 0) return;
    const to = Math.max(0, Math.min(n - 1, i));
    point(u, u.valToPos(to * step_s, 'x'), 10);
  };
  const onKey = (e: KeyboardEvent): void => {
    if (e.target !== e.currentTarget || e.ctrlKey || e.metaKey || e.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[e.key];
    if (step !== undefined) moveTo((at.value < 0 ? (step > 0 ? -1 : n) : at.value) + step);
    else if (e.key === 'Enter' && at.value >= 0) props.onOpen?.(...spanOf(at.value));
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  const i = at.value, told = lines.filter((l) => l.quiet !== true), all = lines.indexOf.bind(lines);
  return (
    <figure class="chart" ref={root} tabIndex={0} aria-label={`${title}. ${props.summary}`} onKeyDown={onKey} onBlur={() => plot.current !== null && point(plot.current, -10, -10)}>
      <figcaption>
        <strong>{title}</strong>
        <span class="chart-read" role="status">
          {i >= 0 && i < n && <span class="mono">{`${formatDay(spanOf(i)[0])} ${formatClock(spanOf(i)[0], 0).slice(0, step_s < 60 ? 8 : 5)}`}</span>}
          {told.map((line) => {
            const value = i >= 0 && i < n ? line.values[i] : props.totals?.[all(line)];
            return (
              <span key={line.label} class="chart-value">
                <Swatch line={line} />
                <span class="dim">{line.label}</span> <span class="num">{value === undefined ? '' : format(value)}</span>
              </span>
            );
          })}
          {counts !== undefined && i >= 0 && i < n && (
            <span class={counts[i]! < few ? 'warn-text' : 'dim'}>
              of {counts[i]!.toLocaleString('en-GB')} {props.unit ?? 'call'}{counts[i] === 1 ? '' : 's'}{counts[i]! < few ? ', too few to trust' : props.bound ? `, ±${(props.bound * 100).toFixed(1)} %` : ''}
            </span>
          )}
        </span>
      </figcaption>
      <div class="chart-box" />
    </figure>
  );
}

/** Points are shown only where a line has nothing to join. */
function lonely(all: ArrayLike<number | null | undefined>): boolean {
  const values = Array.from(all, (v) => v ?? null), known = values.filter((v) => v !== null).length;
  return known > 0 && (known === 1 || values.every((v, i) => v === null || (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null));
}

function Swatch({ line }: { line: Line }) {
  return (
    <svg class="chart-swatch" width="16" height="8" viewBox="0 0 16 8" aria-hidden="true">
      <line x1="0" y1="4" x2="16" y2="4" style={{ stroke: `var(--${line.color})`, strokeWidth: `${line.width ?? 1.5}px`, strokeDasharray: line.dash?.join(' ') ?? 'none' }} />
    </svg>
  );
}
