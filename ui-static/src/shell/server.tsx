// SPDX-License-Identifier: Apache-2.0
// What the page knows of its server: /meta, asked now and then. The right end of the foot shows it.
import { computed, effect, signal } from '@preact/signals';
import { ApiError, get, waiting_s } from '../api/client.ts';
import type { Meta } from '../api/types.ts';
import { href, place } from '../lib/route.ts';
import { formatFor, MS } from '../lib/time.ts';

export const meta = signal<Meta | undefined>(undefined);
const failure = signal<ApiError | undefined>(undefined);
const answered_ms = signal(0);

/** Telemetry has arrived, ever; undefined before the server has said. */
export const hasData = computed(() => (meta.value === undefined ? undefined : meta.value.first_span_at !== null));

/** The server cannot be asked just now. */
export const isAway = computed(() => failure.value?.status === 0);

const META_MS = 5000; // it reads nothing from the disk

export async function askMeta(): Promise<void> {
  try {
    const now = await get<Meta>('/meta', {}, undefined, META_MS);
    meta.value = now;
    failure.value = undefined;
    answered_ms.value = Date.now();
  } catch (error) {
    if (error instanceof ApiError) failure.value = error;
  }
}

const EMPTY_MS = 1000; // until the first span: the map should appear by itself
const USUAL_MS = 15_000;

/** Ask from now on, while the tab is in sight. */
export function startAsking(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const loop = async () => {
    clearTimeout(timer);
    if (!document.hidden && place.value.route !== 'signin') await askMeta();
    clearTimeout(timer);
    timer = setTimeout(loop, hasData.value === false || failure.value !== undefined ? EMPTY_MS : USUAL_MS);
  };
  // At once too when somebody else has found it away, or waits for it.
  const inDoubt = computed(() => isAway.value || waiting_s.value > 0);
  effect(() => {
    if (inDoubt.value) queueMicrotask(() => void loop());
  });
  void loop();
}

export function ServerState() {
  const error = failure.value;
  const m = meta.value;
  if (error !== undefined && error.status !== 401)
    return (
      <div class="foot-right">
        <span class="lamp err" aria-hidden="true" />
        <span class="err-text">
          {error.message.replace(/\.$/, '')}
          {answered_ms.value > 0 && `, for ${formatFor(BigInt(answered_ms.value) * MS)}`}
        </span>
      </div>
    );
  if (waiting_s.value > 0)
    return (
      <div class="foot-right">
        <span class="lamp warn" aria-hidden="true" />
        <span class="warn-text">waiting for the server for {waiting_s.value} s</span>
      </div>
    );
  if (m === undefined) return <div class="foot-right" />;
  return (
    <div class="foot-right">
      <a href={href('status')}>
        <span class="lamp ok" aria-hidden="true" />
        {m.first_span_at === null ? 'waiting for the first span' : 'ok'}
      </a>
      <span class="dim">spindle {m.version}</span>
    </div>
  );
}
