// SPDX-License-Identifier: Apache-2.0
// A line the size of a word: the shape of a series, its figures stand beside it.

export type Points = readonly (number | null)[];

/** The line as SVG path data: breaks where nothing is known. */
export function sparkPath(points: Points, width: number, height: number, top: number): string {
  const step = points.length > 1 ? width / (points.length - 1) : 0;
  let out = '', pen = false;
  points.forEach((p, i) => {
    if (p === null || !Number.isFinite(p)) {
      pen = false;
      return;
    }
    const x = (i * step).toFixed(1), y = (height - (top > 0 ? p / top : 0) * height).toFixed(1);
    // A point alone between breaks is drawn as a dot.
    const alone = !pen && (points[i + 1] ?? null) === null;
    out += `${pen ? 'L' : 'M'}${x} ${y}${alone ? `h0.01` : ''}`;
    pen = true;
  });
  return out;
}

export function sparkArea(points: Points, width: number, height: number, top: number): string {
  const step = points.length > 1 ? width / (points.length - 1) : 0;
  let out = '', first = -1;
  for (let i = 0; i <= points.length; i++) {
    const p = points[i];
    if (p !== null && p !== undefined) {
      if (first < 0) {
        first = i;
        out += `M${(i * step).toFixed(1)} ${height}`;
      }
      out += `L${(i * step).toFixed(1)} ${(height - (top > 0 ? p / top : 0) * height).toFixed(1)}`;
    } else if (first >= 0) {
      out += `L${((i - 1) * step).toFixed(1)} ${height}Z`;
      first = -1;
    }
  }
  return out;
}

export const topOf = (points: Points): number => points.reduce<number>((a, p) => (p !== null && p > a ? p : a), 0);

/** `label` is for readers and the hover: what it shows and between which values. */
export function Spark({ points, width = 72, height = 18, label, top, tone = 'plain' }: {
  points: Points;
  width?: number;
  height?: number;
  label: string;
  top?: number;
  tone?: 'plain' | 'err' | 'strong';
}) {
  const most = top ?? topOf(points);
  return (
    <svg class={`spark ${tone}`} width={width} height={height} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <title>{label}</title>
      <g transform={`translate(1 1.5)`}>
        <path class="spark-area" d={sparkArea(points, width - 2, height - 3, most)} />
        <path class="spark-line" d={sparkPath(points, width - 2, height - 3, most)} />
      </g>
    </svg>
  );
}
