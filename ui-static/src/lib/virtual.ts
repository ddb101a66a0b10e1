// SPDX-License-Identifier: Apache-2.0
// A list of any length in a few recycled rows of one height: what is in sight and a margin. Rows are made once and
// filled again and again; nothing is re-rendered on the way.
//
// Browsers end a page's height somewhere past 16 million pixels; above MAX_PX the scroll bar stands for more than one
// pixel each.

export const OVERSCAN = 8; // on each side
export const MAX_PX = 8_000_000;

export interface Window {
  first: number; // rows [first, last) are filled
  last: number;
  top: number; // where row `first` stands in the body, in px
  height: number; // of the body
}

export function windowOf(scrollTop: number, view: number, row: number, count: number, overscan = OVERSCAN): Window {
  const full = count * row;
  const height = Math.min(full, MAX_PX);
  const scroll = Math.max(0, Math.min(scrollTop, height - view));
  // How far the rows are ahead of the scroll bar; 0 unless the list is taller than MAX_PX.
  const ahead = height > view ? (scroll * (full - height)) / (height - view) : 0;
  const at = scroll + ahead;
  const first = Math.max(0, Math.floor(at / row) - overscan);
  const last = Math.min(count, Math.ceil((at + view) / row) + overscan);
  return { first, last: Math.max(first, last), top: first * row - ahead, height };
}

/** The scrollTop at which the top of row `index` is at the top of the view. */
export function scrollTopOf(index: number, view: number, row: number, count: number): number {
  const full = count * row;
  const height = Math.min(full, MAX_PX);
  return full <= view ? 0 : (Math.min(index * row, full - view) * (height - view)) / (full - view);
}

export interface RowSource<R extends HTMLElement> {
  readonly rowHeight: number;
  make(): R;
  /** Show row `index`. Also called again for a row whose content may have changed. */
  fill(row: R, index: number): void;
}

export class VirtualList<R extends HTMLElement> {
  private rows: R[] = [];
  private shows: number[] = []; // what each recycled row shows; -1: nothing
  private count = 0;
  private frame = 0;
  private readonly resized: ResizeObserver;

  /** `view` scrolls, `body` lies in it and holds the rows. */
  constructor(
    readonly view: HTMLElement,
    private readonly body: HTMLElement,
    private readonly source: RowSource<R>,
  ) {
    view.addEventListener('scroll', this.later, { passive: true });
    this.resized = new ResizeObserver(this.later);
    this.resized.observe(view);
  }

  destroy(): void {
    this.view.removeEventListener('scroll', this.later);
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Everything may have changed. Drawn with the next frame, so that many changes at once cost one drawing. */
  setCount(count: number): void {
    this.count = count;
    this.body.style.height = `${Math.min(count * this.source.rowHeight, MAX_PX)}px`;
    this.refill();
  }

  refill(): void {
    this.shows.fill(-1);
    this.later();
  }

  /** Bring a row into sight; when it is not, put it a third down. */
  reveal(index: number): void {
    const { rowHeight } = this.source;
    const { view } = this;
    const w = windowOf(view.scrollTop, view.clientHeight, rowHeight, this.count, 0);
    const y = (index - w.first) * rowHeight + w.top - view.scrollTop;
    if (y >= 0 && y + rowHeight <= view.clientHeight) return;
    const before = Math.floor(view.clientHeight / rowHeight / 3);
    view.scrollTop = scrollTopOf(Math.max(0, index - before), view.clientHeight, rowHeight, this.count);
    this.draw();
  }

  private readonly later = (): void => {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  };

  private draw(): void {
    const { source, view } = this;
    const w = windowOf(view.scrollTop, view.clientHeight, source.rowHeight, this.count);
    const need = w.last - w.first;
    if (need > this.rows.length) this.grow(need + 8);
    const size = this.rows.length;
    for (let slot = 0; slot < size; slot++) {
      const shown = this.shows[slot]!;
      if (shown >= w.first && shown < w.last) continue;
      this.shows[slot] = -1;
    }
    for (let i = w.first; i < w.last; i++) {
      const slot = i % size;
      const row = this.rows[slot]!;
      if (this.shows[slot] !== i) {
        this.shows[slot] = i;
        source.fill(row, i);
        row.hidden = false;
      }
      row.style.transform = `translateY(${w.top + (i - w.first) * source.rowHeight}px)`;
    }
    for (let slot = 0; slot < size; slot++) if (this.shows[slot] === -1) this.rows[slot]!.hidden = true;
  }

  private grow(size: number): void {
    while (this.rows.length < size) {
      const row = this.source.make();
      this.rows.push(row);
      this.body.append(row);
    }
    this.shows = new Array<number>(size).fill(-1);
  }
}

/** An element with a class, for what is built without a component. */
export function element<K extends keyof HTMLElementTagNameMap>(tag: K, className = '', text = ''): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  if (className !== '') e.className = className;
  if (text !== '') e.textContent = text;
  return e;
}
