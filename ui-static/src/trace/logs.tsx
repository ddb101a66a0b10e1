// SPDX-License-Identifier: Apache-2.0
// The log records of a trace, with their offsets; those of a known span lead to it.
import { useEffect } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import { ApiError, get } from '../api/client.ts';
import { formatDuration, plural } from '../lib/units.ts';
import { formatClock, momentTitle } from '../lib/time.ts';
import { severityLabel, severityOf } from '../logs/severity.ts';
import { ServiceName } from '../ui/text.tsx';
import { Empty, Failure, Note, Skeleton } from '../ui/states.tsx';
import type { TraceView } from './view.ts';

export interface TraceLogRow {
  t: string;
  span_ix: number;
  sev: number;
  sev_text: string;
  svc: string;
  span?: string;
  body?: string;
}
export interface TraceLogs {
  readonly rows: readonly TraceLogRow[];
  readonly total: number;
  readonly state: 'loading' | 'there' | 'failed';
  readonly error: ApiError | undefined;
}
const NONE: TraceLogs = { rows: [], total: 0, state: 'loading', error: undefined };

/** All log records of the trace, once it is known. */
export function useTraceLogs(id: string, version: string | undefined): TraceLogs {
  const state = useSignal<TraceLogs>(NONE);
  useEffect(() => {
    if (version === undefined) return;
    const abort = new AbortController();
    get<{ rows: TraceLogRow[]; total: number }>(`/trace/${encodeURIComponent(id)}/logs`, { format: 'rows' }, abort.signal)
      .then(({ rows, total }) => (state.value = { rows, total, state: 'there', error: undefined }))
      .catch((thrown: unknown) => {
        if (abort.signal.aborted) return;
        state.value = { ...NONE, state: 'failed', error: thrown instanceof ApiError ? thrown : new ApiError('The answer is not readable.', 0, 'unreadable') };
      });
    return () => abort.abort();
  }, [id, version]);
  return state.value;
}

export function LogList({ rows, view, hasHead = false }: { rows: readonly TraceLogRow[]; view: TraceView; hasHead?: boolean }) {
  const t0 = BigInt(view.trace.header.t0);
  const services = new Map(view.trace.header.services.map((s, i) => [s.name, i]));
  return (
    <div class="trace-logs">
      {hasHead && (
        <div class="trace-log trace-log-head" aria-hidden="true">
          <span>After</span>
          <span>Severity</span>
          <span>Service</span>
          <span>Text</span>
        </div>
      )}
      {rows.map((r, i) => {
        const offset = Number(BigInt(r.t) - t0);
        const inside = (
          <>
            <span class="mono dim" title={`${formatClock(r.t, 6)}\n${momentTitle(r.t)}`}>
              {offset < 0 ? '' : '+'}
              {formatDuration(offset)}
            </span>
            <span class={`sev ${severityOf(r.sev)}`}>{severityLabel(r.sev)}</span>
            <span class="trace-log-svc"><ServiceName name={r.svc} color={view.slots[services.get(r.svc) ?? -1] ?? 0} /></span>
            <span class="trace-log-body">{r.body ?? ''}</span>
          </>
        );
        return r.span_ix >= 0 && r.span_ix < view.trace.spans.n ? (
          <button key={i} type="button" class="trace-log" onClick={() => view.goTo(r.span_ix)}>
            {inside}
          </button>
        ) : (
          <div key={i} class="trace-log">
            {inside}
          </div>
        );
      })}
    </div>
  );
}

export function LogsTab({ logs, view, reload }: { logs: TraceLogs; view: TraceView; reload?: () => void }) {
  if (logs.state === 'loading') return <Skeleton />;
  if (logs.error !== undefined) return reload === undefined ? <Failure error={logs.error} /> : <Failure error={logs.error} reload={reload} />;
  if (logs.rows.length === 0) return <Empty icon="logs" title="No log record carries this trace's ID." />;
  return (
    <div class="scroll trace-logs-tab">
      {logs.total > logs.rows.length && (
        <Note>
          The first {logs.rows.length} of {plural(logs.total, 'record')}.
        </Note>
      )}
      <LogList rows={logs.rows} view={view} hasHead />
    </div>
  );
}
