// SPDX-License-Identifier: Apache-2.0
// The live tail's buffer: rows in order of arrival, the newest kept. While it is paused what arrives is counted and
// waits. More than a person can read is sampled, and the sampling counted.

export const KEEP = 5000;
export const PER_SECOND = 200;

export class TailBuffer<Row> {
  rows: Row[] = [];
  private waiting: Row[] = [];
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
      this.waiting.push(row);
      if (this.waiting.length > 2 * this.keep) this.waiting = this.waiting.slice(-this.keep);
    } else {
      this.rows.push(row);
      // Cut in large pieces: a cut of one for each row would copy the array each time.
      if (this.rows.length > this.keep + this.perSecond) this.rows = this.rows.slice(-this.keep);
    }
    return true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.rows = [...this.rows, ...this.waiting].slice(-this.keep);
    this.waiting = [];
    this.waitingCount = 0;
  }
}
