// SPDX-License-Identifier: Apache-2.0
// One query string, three ways to it: the text, its chips, the builder's menus. All edit the same text; the text is
// what runs. What fits at the caret is suggested from what is stored.
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect, useId, useLayoutEffect, useRef } from 'preact/hooks';
import { get, type ApiError } from '../api/client.ts';
import { attributeName, literal, quote } from '../lib/links.ts';
import { useLayer } from '../lib/keys.ts';
import { rangeQuery } from '../lib/time.ts';
import { asFilter, chipsOf, completionAt, hexId, OPERATORS, withoutCondition, type Completion } from '../lib/traceql.ts';
import { formatShort } from '../lib/units.ts';
import { Button, Chip } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';

export type Signal = 'traces' | 'logs';

interface Suggestion {
  readonly text: string; // what is put into the query
  readonly note: string;
}

const SPAN_NAMES: readonly (readonly [string, string])[] = [
  ['resource.service.name', 'the service'],
  ['name', 'the operation'],
  ['duration', 'of the span'],
  ['status', 'ok error unset'],
  ['kind', 'server client …'],
  ['statusMessage', ''],
  ['trace:id', ''],
  ['trace:duration', 'of the whole trace'],
  ['trace:rootName', ''],
  ['trace:rootService', ''],
  ['span:childCount', ''],
  ['span:isRoot', ''],
  ['event:name', ''],
];
const LOG_NAMES: readonly (readonly [string, string])[] = [
  ['severity', 'trace … fatal'],
  ['body', 'the message'],
  ['text', 'message and attributes'],
  ['resource.service.name', 'the service'],
  ['trace:id', ''],
  ['span:id', ''],
  ['eventName', ''],
];
const WORDS: Record<string, readonly string[]> = {
  status: ['error', 'ok', 'unset'],
  kind: ['server', 'client', 'internal', 'producer', 'consumer'],
  severity: ['fatal', 'error', 'warn', 'info', 'debug', 'trace'],
};
const bare = (name: string): string => name.replace(/^(?:span|log):/, '');

interface KeyRow {
  scope: 'span' | 'resource' | 'event' | 'link' | 'instrumentation' | 'log';
  key: string;
  type: string;
  count: number;
}
interface ValueRow {
  type: string;
  value: string;
  count: number;
}

/** A stored value as TraceQL writes it. */
export const typedLiteral = (type: string, value: string): string => (type === 'int' || type === 'float' || type === 'double' || type === 'bool' ? value : quote(value));

async function suggest(c: Completion, signal: Signal, stop: AbortSignal): Promise<Suggestion[]> {
  const typed = c.typed.toLowerCase();
  if (c.what === 'op') return OPERATORS.filter((o) => o.startsWith(typed)).map((o) => ({ text: o, note: '' }));
  if (c.what === 'join') return [{ text: '&&', note: 'and' }, { text: '||', note: 'or' }];
  if (c.what === 'name') {
    const scoped = /^(?:(resource|span|event|link|instrumentation|log)?\.)(.*)$/.exec(c.typed);
    const own = (signal === 'logs' ? LOG_NAMES : SPAN_NAMES)
      .filter(([n]) => n.toLowerCase().includes(typed))
      .map(([text, note]) => ({ text, note }));
    const prefix = (scoped?.[2] ?? c.typed).replace(/^"/, '');
    const { rows } = await get<{ rows: KeyRow[] }>('/attributes', { prefix, signal, limit: 20, ...rangeQuery() }, stop);
    const stored = rows
      .filter((r) => scoped?.[1] === undefined || r.scope === scoped[1])
      .map((r) => ({ text: attributeName(r.scope, r.key), note: `${r.type} · ${formatShort(r.count)}` }));
    return [...own, ...stored.filter((s) => !own.some((o) => o.text === s.text))].slice(0, 14);
  }
  const words = WORDS[bare(c.name)];
  if (words !== undefined) return words.filter((w) => w.startsWith(typed)).map((text) => ({ text, note: '' }));
  const attribute = /^(resource|span|event|link|instrumentation|log)?\.(.+)$/.exec(c.name);
  if (attribute === null) return [];
  const key = attribute[2]!.startsWith('"') ? (JSON.parse(attribute[2]!) as string) : attribute[2]!;
  const prefix = c.typed.replace(/^["`]|["`]$/g, '');
  const { rows } = await get<{ rows: ValueRow[] }>(
    `/attributes/${encodeURIComponent(key)}/values`,
    { prefix, signal, limit: 12, scope: attribute[1], timeout: '2s', ...rangeQuery() },
    stop,
  );
  return rows.map((r) => ({ text: typedLiteral(r.type, r.value), note: formatShort(r.count) }));
}

export function QueryBox({ signal, value, error, onRun, id, children }: {
  signal: Signal;
  value: string;
  error: ApiError | undefined; // of the query that ran
  onRun: (q: string) => void;
  id: string;
  children?: ComponentChildren;
}) {
  const text = useSignal(value);
  const offers = useSignal<readonly Suggestion[]>([]);
  const at = useSignal(-1);
  const caret = useSignal(0);
  const isOpen = useSignal(false);
  const completion = useRef<Completion | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const listId = useId();
  useEffect(() => {
    text.value = value;
  }, [value]);
  const close = () => {
    isOpen.value = false;
    at.value = -1;
  };
  useLayer(isOpen.value && offers.value.length > 0, close);

  useEffect(() => {
    if (!isOpen.value) return;
    const stop = new AbortController();
    // An empty box starts a filter: names fit.
    const c = text.value.trim() === '' ? { what: 'name' as const, from: 0, to: text.value.length, typed: '', name: '' } : completionAt(text.value, caret.value);
    const timer = setTimeout(() => {
      suggest(c, signal, stop.signal)
        .then((found) => {
          completion.current = c;
          offers.value = found.filter((f) => f.text !== c.typed);
          at.value = -1;
        })
        .catch(() => {
          if (!stop.signal.aborted) offers.value = [];
        });
    }, 120);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text.value, caret.value, isOpen.value, signal]);

  const wanted = useRef(-1);
  useLayoutEffect(() => {
    if (wanted.current < 0 || input.current === null) return;
    input.current.setSelectionRange(wanted.current, wanted.current);
    wanted.current = -1;
  });
  const accept = (s: Suggestion) => {
    const c = completion.current;
    if (c === null) return;
    let before = text.value.slice(0, c.from);
    let after = text.value.slice(c.to);
    if (before.trim() === '' && after.trim() === '') [before, after] = ['{ ', ' }'];
    const glue = /\s$|^$|[{(]$/.test(before) ? '' : ' ';
    const tail = c.what === 'value' || /^\s/.test(after) ? '' : ' ';
    text.value = before + glue + s.text + tail + after;
    caret.value = wanted.current = before.length + glue.length + s.text.length + (c.what === 'value' ? 0 : 1);
    input.current?.focus();
  };
  const run = () => {
    close();
    // An ID is not a filter: the page opens it.
    onRun(hexId(text.value) ?? asFilter(text.value, signal));
  };
  const onKey = (e: KeyboardEvent) => {
    const open = isOpen.value && offers.value.length > 0;
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      if (!open) isOpen.value = true;
      else {
        const n = offers.value.length;
        at.value = e.key === 'ArrowDown' ? (at.value + 1) % n : (at.value <= 0 ? n : at.value) - 1;
      }
    } else if (e.key === 'Enter') {
      if (open && at.value >= 0) accept(offers.value[at.value]!);
      else run();
    } else if (e.key === 'Tab' && open && !e.shiftKey && at.value >= 0) {
      accept(offers.value[at.value]!);
      close();
    } else return;
    e.preventDefault();
  };
  const chips = chipsOf(value);
  const position = error?.position;
  return (
    <div class="query">
      <div class="query-line">
        <div class="query-field" data-search>
          <Icon name="search" size={14} />
          <input
            id={id}
            ref={input}
            type="text"
            class="mono"
            role="combobox"
            aria-label={signal === 'logs' ? 'Filter over log records' : 'Filter over spans'}
            aria-expanded={isOpen.value && offers.value.length > 0}
            aria-controls={listId}
            aria-activedescendant={at.value >= 0 ? `${listId}-${at.value}` : undefined}
            aria-autocomplete="list"
            aria-invalid={error?.status === 400 ? 'true' : undefined}
            placeholder={signal === 'logs' ? 'Words, or { severity >= warn && resource.service.name = "…" }' : 'Words, a trace ID, or { resource.service.name = "…" && duration > 200ms }'}
            spellcheck={false}
            autocomplete="off"
            value={text.value}
            onInput={(e) => {
              text.value = e.currentTarget.value;
              caret.value = e.currentTarget.selectionStart ?? 0;
              isOpen.value = true;
            }}
            onClick={(e) => {
              caret.value = e.currentTarget.selectionStart ?? 0;
              isOpen.value = true;
            }}
            onKeyDown={onKey}
            onKeyUp={(e) => {
              if (e.key === 'ArrowLeft' || e.key === 'ArrowRight') caret.value = e.currentTarget.selectionStart ?? 0;
            }}
            onBlur={close}
          />
          {isOpen.value && offers.value.length > 0 && (
            <ul id={listId} class="query-offers" role="listbox" aria-label="Suggestions">
              {offers.value.map((s, i) => (
                <li
                  key={s.text}
                  id={`${listId}-${i}`}
                  role="option"
                  aria-selected={i === at.value}
                  onPointerDown={(e) => {
                    e.preventDefault();
                    accept(s);
                  }}
                >
                  <span class="mono cut">{s.text}</span>
                  <span class="dim">{s.note}</span>
                </li>
              ))}
            </ul>
          )}
        </div>
        <Button kind="primary" onClick={run} title="Run  Enter">
          Run
        </Button>
        {children}
      </div>
      {error?.status === 400 && (
        <p class="query-error err-text" role="alert">
          {error.message.replace(/^parameter 'q': (?:line \d+, column \d+: )?/, '')}
          {position !== undefined && (
            <>
              {' at '}
              <code>{value.slice(Math.max(0, position.column - 1), position.column + 23)}</code>
            </>
          )}
        </p>
      )}
      {chips !== undefined && chips.length > 0 && (
        <div class="query-chips">
          {chips.map((c, i) => (
            <Chip key={i + c.text} label={c.text} onRemove={() => onRun(withoutCondition(value, i))}>
              <span class="mono">{c.text}</span>
            </Chip>
          ))}
          <button type="button" class="linklike" onClick={() => onRun('')}>
            clear
          </button>
        </div>
      )}
      {chips === undefined && value !== '' && error?.status !== 400 && <p class="query-chips dim small">More than conditions joined by &&: the text edits it.</p>}
    </div>
  );
}

/** A menu of stored values that adds or replaces one condition. */
export function Builder({ label, name, options, value, onPick }: {
  label: string;
  name: string;
  options: readonly string[];
  value: string; // of the chip on this name, as written
  onPick: (condition: string) => void;
}) {
  const words = WORDS[name] !== undefined;
  const written = (v: string): string => (words ? v : literal(v));
  const chosen = options.find((o) => written(o) === value) ?? '';
  return (
    <label class="select query-builder">
      <select aria-label={label} value={chosen} onChange={(e) => onPick(e.currentTarget.value === '' ? '' : `${name} = ${written(e.currentTarget.value)}`)}>
        <option value="">{label}</option>
        {options.map((o) => (
          <option key={o} value={o}>
            {o}
          </option>
        ))}
      </select>
      <Icon name="down" size={12} />
    </label>
  );
}
