// SPDX-License-Identifier: Apache-2.0
// The live tail's buffer: the newest rows. Senders' batches cross, so a row is put where its time belongs among those
// that arrived in the last two seconds; older ones stay where they are, whatever a sender's clock says. While it is
// paused what arrives is counted and waits. More than a person can read is sampled, and the sampling counted.

export const KEEP = 5000;
export const PER_SECOND = 200;
export const SETTLED_MS = 2000;

/** Later by their times, decimal nanoseconds. */
const isLater = (a: { readonly time: string }, b: { readonly time: string }): boolean =>
  a.time.length !== b.time.length ? a.time.length > b.time.length : a.time > b.time;

/** Rows in order, and when each arrived. */
class Run<Row extends { readonly time: string }> {
  rows: Row[] = [];
  arrived_ms: number[] = [];

  insert(row: Row, now_ms: number): void {
    let at = this.rows.length;
    while (at > 0 && now_ms - this.arrived_ms[at - 1]! < SETTLED_MS && isLater(this.rows[at - 1]!, row)) at--;
    this.rows.splice(at, 0, row);
    this.arrived_ms.splice(at, 0, now_ms);
  }

  keepLast(n: number): void {
    if (this.rows.length <= n) return;
    this.rows = this.rows.slice(-n);
    this.arrived_ms = this.arrived_ms.slice(-n);
  }

  join(after: Run<Row>): void {
    this.rows = [...this.rows, ...after.rows];
    this.arrived_ms = [...this.arrived_ms, ...after.arrived_ms];
  }
}

export class TailBuffer<Row extends { readonly time: string }> {
  private shown = new Run<Row>();
  private waiting = new Run<Row>();
  isPaused = false;
  /** Arrived while paused, including those that no longer wait. */
  waitingCount = 0;
  /** Left out because too many came in one second. */
  sampled = 0;
  /** Left out by the server. */
  skipped = 0;
  private second = -1;
  private inSecond = 0;

  constructor(
    readonly keep = KEEP,
    readonly perSecond = PER_SECOND,
  ) {}

  get rows(): Row[] {
    return this.shown.rows;
  }

  /** What was there before. */
  prepend(rows: readonly Row[]): void {
    const before = new Run<Row>();
    before.rows = [...rows];
    before.arrived_ms = rows.map(() => -Infinity);
    before.join(this.shown);
    this.shown = before;
  }

  /** Returns whether the row is kept. */
  add(row: Row, now_ms: number): boolean {
    const second = Math.floor(now_ms / 1000);
    if (second !== this.second) {
      this.second = second;
      this.inSecond = 0;
    }
    if (++this.inSecond > this.perSecond) {
      this.sampled++;
      return false;
    }
    if (this.isPaused) {
      this.waitingCount++;
      this.waiting.insert(row, now_ms);
      if (this.waiting.rows.length > 2 * this.keep) this.waiting.keepLast(this.keep);
    } else {
      this.shown.insert(row, now_ms);
      // Cut in large pieces: a cut of one for each row would copy the array each time.
      if (this.rows.length > this.keep + this.perSecond) this.shown.keepLast(this.keep);
    }
    return true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.shown.join(this.waiting);
    this.shown.keepLast(this.keep);
    this.waiting = new Run();
    this.waitingCount = 0;
  }
}
