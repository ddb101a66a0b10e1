// SPDX-License-Identifier: Apache-2.0
// Parses the answers of /trace/:id/skeleton and builds the trace, away from the page's thread. The page fetches (it
// holds the token) and sends the bytes; each message is answered in order. After the first part of a large trace there
// is a first, partial trace; after the last part the whole one.
import { BrokenAnswer, buffersOf, TraceBuilder, type Header, type Part, type Trace } from './model.ts';

export type ToWorker =
  | { type: 'header'; body: ArrayBuffer }
  | { type: 'part'; body: ArrayBuffer; corrected: boolean }
  | { type: 'rebuild'; corrected: boolean };

export type FromWorker =
  | { type: 'header'; header: Header }
  | { type: 'trace'; trace: Trace; whole: boolean }
  | { type: 'failed'; message: string };

let builder: TraceBuilder | null = null;

function answer(m: FromWorker, transfer: ArrayBuffer[] = []): void {
  (self as unknown as { postMessage(m: FromWorker, t: ArrayBuffer[]): void }).postMessage(m, transfer);
}

function parse<T>(body: ArrayBuffer): T {
  return JSON.parse(new TextDecoder().decode(body)) as T;
}

function send(corrected: boolean): void {
  const b = builder!;
  const trace = b.build(corrected);
  answer({ type: 'trace', trace, whole: b.have === b.header.rows }, buffersOf(trace));
}

function handle(m: ToWorker): void {
  if (m.type === 'header') {
    const header = parse<Header>(m.body);
    builder = new TraceBuilder(header);
    answer({ type: 'header', header });
    return;
  }
  if (builder === null) throw new BrokenAnswer('A part came before the header.');
  if (m.type === 'part') {
    const first = builder.have === 0;
    builder.add(parse<Part>(m.body));
    if (!first && builder.have < builder.header.rows) return;
  }
  send(m.corrected);
}

self.addEventListener('message', (e: MessageEvent<ToWorker>) => {
  try {
    handle(e.data);
  } catch (err) {
    answer({ type: 'failed', message: err instanceof Error ? err.message : String(err) });
  }
});
