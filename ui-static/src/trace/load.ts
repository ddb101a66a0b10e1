// SPDX-License-Identifier: Apache-2.0
// Loading one trace: header and parts from the server, parsed and built in the worker. A large trace is shown from its
// first part on. When the trace has grown in the meantime, the page says so and waits to be asked.
import { signal } from '@preact/signals';
import { ApiError, apiUrl, get, send } from '../api/client.ts';
import { startWorker } from '../lib/worker.ts';
import type { Header, Trace } from './model.ts';
import type { FromWorker, ToWorker } from './trace.worker.ts';

const GROWTH_MS = 5000;
const GROWTH_LOOKS = 12; // a minute: traces rarely grow for longer
const ARRIVAL_LOOKS = 5;

export class TraceLoad {
  readonly header = signal<Header | undefined>(undefined);
  readonly trace = signal<Trace | undefined>(undefined);
  readonly isWhole = signal(false);
  readonly failure = signal<ApiError | undefined>(undefined);
  /** The header of a larger version that the server has by now. */
  readonly newer = signal<Header | undefined>(undefined);
  readonly isCorrected = signal(false);

  private readonly worker = startWorker('trace');
  private abort = new AbortController();
  private looks = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly id: string) {
    this.worker.addEventListener('message', (e: MessageEvent<FromWorker>) => this.onAnswer(e.data));
    this.worker.addEventListener('error', () => this.fail(new ApiError('The page could not read the trace.', 0, 'worker')));
    void this.load();
  }

  close(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.worker.terminate();
  }

  /** Load it anew: after a failure, or to show what has been added. */
  reload(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.looks = 0;
    void this.load();
  }

  /** Show times as they were sent, or moved so that children fit into their parents. */
  correct(corrected: boolean): void {
    this.isCorrected.value = corrected;
    this.tell({ type: 'rebuild', corrected });
  }

  private path = (): string => `/trace/${encodeURIComponent(this.id)}/skeleton`;

  private async load(again = 0): Promise<void> {
    clearTimeout(this.timer);
    const { signal: stop } = this.abort;
    try {
      const header = await this.bytes({});
      const parsed = this.waitForHeader();
      this.tell({ type: 'header', body: header }, [header]);
      const { parts, version } = await parsed;
      if (stop.aborted) return;
      // Two requests under way: the server works on the next part while this one travels.
      let next = this.bytes({ part: 0, version });
      for (let part = 0; part < parts; part++) {
        const body = await next;
        if (part + 1 < parts) {
          next = this.bytes({ part: part + 1, version });
          next.catch(() => undefined);
        }
        if (stop.aborted) return;
        this.tell({ type: 'part', body, corrected: this.isCorrected.value }, [body]);
      }
      this.failure.value = undefined;
      this.newer.value = undefined;
      this.lookLater();
    } catch (thrown) {
      if (stop.aborted) return;
      const error = thrown instanceof ApiError ? thrown : new ApiError('The answer is not readable.', 0, 'unreadable');
      // It grew while it was read: its parts are of a version that is no longer kept.
      if (error.status === 404 && this.header.value !== undefined && again < 3) return this.load(again + 1);
      this.fail(error);
    }
  }

  private async bytes(query: Record<string, string | number>): Promise<ArrayBuffer> {
    const response = await send(apiUrl(this.path(), query), { signal: this.abort.signal });
    return response.arrayBuffer();
  }

  private fail(error: ApiError): void {
    this.failure.value = error;
    // A trace that has just been written may take a moment to be found.
    if (error.status === 404 && this.looks++ < ARRIVAL_LOOKS) this.timer = setTimeout(() => void this.load(), 2000);
    if (error.status === 503 || error.status === 429)
      this.timer = setTimeout(() => void this.load(), Math.max(1, error.retryAfter_s) * 1000);
  }

  private lookLater(): void {
    if (this.looks++ >= GROWTH_LOOKS) return;
    this.timer = setTimeout(() => void this.look(), GROWTH_MS);
  }

  private async look(): Promise<void> {
    try {
      if (!document.hidden) {
        const header = await get<Header>(this.path(), {}, this.abort.signal);
        const shown = this.header.value;
        if (shown !== undefined && header.version !== shown.version && header.spans > shown.spans) this.newer.value = header;
      }
    } catch {
      // It is only about news; what is shown stays right.
    }
    if (!this.abort.signal.aborted) this.lookLater();
  }

  private headerCame: ((h: Header) => void) | undefined;
  private waitForHeader(): Promise<Header> {
    return new Promise((resolve) => (this.headerCame = resolve));
  }

  private tell(m: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.worker.postMessage(m, transfer);
  }

  private onAnswer(m: FromWorker): void {
    if (m.type === 'header') {
      this.header.value = m.header;
      this.headerCame?.(m.header);
      // Nothing more will come of a trace without rows.
      if (m.header.parts === 0) this.isWhole.value = true;
    } else if (m.type === 'trace') {
      this.isWhole.value = m.whole;
      this.trace.value = m.trace;
    } else this.fail(new ApiError(m.message, 0, 'broken'));
  }
}
