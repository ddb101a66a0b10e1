// SPDX-License-Identifier: Apache-2.0
// Server-sent events over fetch, since EventSource cannot carry a token. Comes back by itself after a break, with
// Last-Event-ID, and waits longer each time.
import { ApiError, send } from './client.ts';

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

export interface SseHandlers {
  onEvent(event: ServerEvent): void;
  /** Open, or broken and trying again in so many ms; an error says why. */
  onState(state: 'open' | 'waiting' | 'failed', error?: ApiError): void;
}

/** Parse a stream's text piece by piece: feed() gives the events that are complete. */
export class SseParser {
  private rest = '';
  private data: string[] = [];
  private event = '';
  id = '';

  /** A new stream begins: what the old one left unfinished is no part of it. The ID stays, to go on from. */
  begin(): void {
    this.rest = '';
    this.data = [];
    this.event = '';
  }

  feed(piece: string): ServerEvent[] {
    const out: ServerEvent[] = [];
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const text = this.rest + piece;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (this.data.length > 0) out.push({ event: this.event || 'message', data: this.data.join('\n'), id: this.id });
        this.data = [];
        this.event = '';
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') this.data.push(value);
      else if (field === 'event') this.event = value;
      else if (field === 'id' && !value.includes('\0')) this.id = value;
    }
    return out;
  }
}

/** Follow a stream until the returned function is called. */
export function follow(url: string, handlers: SseHandlers): () => void {
  const stop = new AbortController();
  const parser = new SseParser();
  let wait_ms = 500;
  const loop = async () => {
    while (!stop.signal.aborted) {
      try {
        const target = parser.id === '' ? url : url + (url.includes('?') ? '&' : '?') + 'last_event_id=' + encodeURIComponent(parser.id);
        const response = await send(target, { signal: stop.signal });
        parser.begin();
        handlers.onState('open');
        const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          wait_ms = 500;
          for (const event of parser.feed(value)) handlers.onEvent(event);
        }
        handlers.onState('waiting');
      } catch (error) {
        if (stop.signal.aborted) return;
        const failure = error instanceof ApiError ? error : new ApiError('The stream broke off.', 0, 'broken');
        const isFinal = failure.status >= 400 && failure.status < 500 && failure.status !== 429;
        handlers.onState(isFinal ? 'failed' : 'waiting', failure);
        if (isFinal) return;
      }
      await new Promise((resolve) => setTimeout(resolve, wait_ms));
      wait_ms = Math.min(wait_ms * 2, 15_000);
    }
  };
  void loop();
  return () => stop.abort();
}
