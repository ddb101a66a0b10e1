// SPDX-License-Identifier: Apache-2.0
// Loading, empty, failed, partial: each says what it is, and offers the one thing to do.
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { ApiError, Loaded } from '../api/client.ts';
import { formatAge, MS } from '../lib/time.ts';
import { Button, Copy } from './button.tsx';
import { Icon, type IconName } from './icons.tsx';

/** First load only: grey bars where rows will be. */
export function Skeleton({ rows = 8 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class={`bone bone-${i % 5}`} />
      ))}
    </div>
  );
}

export function Empty({
  icon = 'info',
  title,
  children,
  action,
}: {
  icon?: IconName;
  title: string;
  children?: ComponentChildren;
  action?: ComponentChildren;
}) {
  return (
    <div class="state" role="status">
      <Icon name={icon} size={20} />
      <p class="state-title">{title}</p>
      {children !== undefined && <div class="state-text">{children}</div>}
      {action !== undefined && <div class="state-action">{action}</div>}
    </div>
  );
}

/** The API's reasons for an empty answer, as a sentence. */
export const reasonText = (reason: string | undefined, what = 'Nothing'): string =>
  ({
    no_data_yet: 'No telemetry has arrived yet.',
    no_match: `${what} matches in this range.`,
    out_of_retention: 'This range is older than what is kept.',
    not_enabled: 'This is not switched on in the server.',
  })[reason ?? ''] ?? `${what} in this range.`;

/** An error where the thing would be: what happened, its request, Retry; 429 and 503 count down. */
export function Failure({ error, reload }: { error: ApiError; reload?: () => void }) {
  const left = useSignal(error.retryAfter_s);
  useEffect(() => {
    left.value = error.retryAfter_s;
    if (error.retryAfter_s === 0) return;
    const timer = setInterval(() => (left.value = Math.max(0, left.value - 1)), 1000);
    return () => clearInterval(timer);
  }, [error]);
  const comesBack = error.status === 429 || error.status === 503;
  return (
    <div class="state failure" role="alert">
      <Icon name="error" size={20} />
      <p class="state-title">{error.message}</p>
      <div class="state-text">
        {error.requestId !== '' && (
          <p class="dim">
            Request <span class="mono">{error.requestId}</span> <Copy text={error.requestId} label="Copy the request's ID" />
          </p>
        )}
        {comesBack && <p class="dim">{left.value > 0 ? `Asking again in ${left.value} s` : 'Asking again…'}</p>}
      </div>
      {reload !== undefined && (
        <div class="state-action">
          <Button icon="refresh" onClick={reload}>
            Retry
          </Button>
        </div>
      )}
    </div>
  );
}

/** One line above what is incomplete or old. */
export function Note({ kind = 'info', children }: { kind?: 'info' | 'warn' | 'err'; children: ComponentChildren }) {
  return (
    <div class={`note ${kind}`} role="note">
      <Icon name={kind === 'info' ? 'info' : kind === 'warn' ? 'warning' : 'error'} size={14} />
      <span>{children}</span>
    </div>
  );
}

/** What a request has brought: skeleton, failure, or the data, dimmed while newer is slow to come; a failure with old
 *  data says since when that is stale. */
export function Answer<T>({
  of,
  skeleton,
  children,
  class: more = '',
}: {
  of: Loaded<T>;
  skeleton?: ComponentChildren;
  children: (data: T) => ComponentChildren;
  class?: string;
}) {
  if (of.data === undefined) {
    if (of.error !== undefined) return <Failure error={of.error} reload={of.reload} />;
    return <>{skeleton ?? <Skeleton />}</>;
  }
  return (
    <div class={`answer ${more} ${of.isSlow ? 'dimmed' : ''}`} aria-busy={of.isSlow}>
      {of.isSlow && <div class="progress" role="progressbar" aria-label="Loading" />}
      {of.error !== undefined && (
        <Note kind="warn">
          {of.error.message} What is shown is from {formatAge(BigInt(of.at_ms) * MS)}.{' '}
          <button type="button" class="linklike" onClick={of.reload}>
            Retry
          </button>
        </Note>
      )}
      {children(of.data)}
    </div>
  );
}
