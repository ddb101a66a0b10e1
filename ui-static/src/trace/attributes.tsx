// SPDX-License-Identifier: Apache-2.0
// Attributes as rows: key, value, and what one does with them: filter for, filter out, copy, show first. Spans and log
// records both have them.
import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { attributeName, webLink } from '../lib/links.ts';
import { prefer, preferences } from '../lib/store.ts';
import { plural } from '../lib/units.ts';
import { Copy, IconButton } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { prettyText, valueLiteral, valueText, valueType, type AnyValue, type KeyValue } from './anyvalue.ts';

export type Scope = 'span' | 'resource' | 'event' | 'link' | 'instrumentation' | 'log';
/** Where a condition leads: a search with it. */
export type ConditionHref = (condition: string) => string;

export function Value({ name, value }: { name: string; value: AnyValue | undefined }) {
  const isOpen = useSignal(false);
  const text = valueText(value);
  const pretty = prettyText(name, text);
  const link = value?.stringValue === undefined ? undefined : webLink(text);
  const isLong = text.length > 400;
  const shown = pretty !== undefined && isOpen.value ? pretty : isLong && !isOpen.value ? text.slice(0, 400) + '…' : text;
  return (
    <span class="attr-value">
      {link !== undefined ? (
        <a href={link} target="_blank" rel="noopener noreferrer">
          {text} <Icon name="external" size={12} />
        </a>
      ) : text === '' ? (
        <span class="dim">{value === undefined || valueType(value) === 'empty' ? 'no value' : 'empty text'}</span>
      ) : (
        <span class={isOpen.value ? 'pre' : ''}>{shown}</span>
      )}
      {(pretty !== undefined || isLong) && (
        <button type="button" class="linklike" onClick={() => (isOpen.value = !isOpen.value)}>
          {isOpen.value ? 'as sent' : pretty !== undefined ? 'lay out' : 'show all'}
        </button>
      )}
    </span>
  );
}

export function Attribute({ scope, kv, hrefOf, acts }: { scope: Scope; kv: KeyValue; hrefOf: ConditionHref; acts?: (kv: KeyValue) => ComponentChildren }) {
  const literal = valueLiteral(kv.value);
  const name = attributeName(scope, kv.key);
  const to = (op: string) => hrefOf(`${name} ${op} ${literal}`);
  const isPinned = preferences.value.pins.includes(kv.key);
  return (
    <div class="attr">
      <span class="attr-key" title={`${kv.key} (${valueType(kv.value)})`}>
        {kv.key}
      </span>
      <Value name={kv.key} value={kv.value} />
      <span class="attr-acts">
        <IconButton
          icon="up"
          label={isPinned ? 'Do not show first any more' : 'Show this key first'}
          pressed={isPinned}
          onClick={() => prefer({ pins: isPinned ? preferences.value.pins.filter((k) => k !== kv.key) : [...preferences.value.pins, kv.key] })}
        />
        {literal !== undefined && (
          <>
            <a class="button icon-only quiet" href={to('=')} aria-label={`Only this ${kv.key}`} title="Filter for this value">
              <Icon name="include" size={14} />
            </a>
            <a class="button icon-only quiet" href={to('!=')} aria-label={`Without this ${kv.key}`} title="Filter this value out">
              <Icon name="exclude" size={14} />
            </a>
            <Copy text={`${name} = ${literal}`} label="Copy as TraceQL" />
          </>
        )}
        {acts?.(kv)}
        <Copy text={() => valueText(kv.value)} label="Copy the value" />
      </span>
    </div>
  );
}

export function Attributes({ title, scope, list, find, hrefOf, acts, dropped = 0 }: {
  title: string;
  scope: Scope;
  list: readonly KeyValue[];
  find: string;
  hrefOf: ConditionHref;
  acts?: (kv: KeyValue) => ComponentChildren;
  dropped?: number | undefined;
}) {
  const want = find.toLowerCase();
  const { pins } = preferences.value;
  const shown = list.filter((kv) => want === '' || kv.key.toLowerCase().includes(want) || valueText(kv.value).toLowerCase().includes(want));
  const sorted = [...shown.filter((kv) => pins.includes(kv.key)), ...shown.filter((kv) => !pins.includes(kv.key))];
  if (list.length === 0 && dropped === 0) return null;
  return (
    <section class="attrs">
      <h3>
        {title} <span class="dim">{shown.length === list.length ? list.length : `${shown.length} of ${list.length}`}</span>
      </h3>
      {sorted.map((kv, i) => (
        <Attribute key={i + kv.key} scope={scope} kv={kv} hrefOf={hrefOf} {...(acts === undefined ? {} : { acts })} />
      ))}
      {dropped > 0 && <p class="dim small">{plural(dropped, 'attribute')} dropped by the sender.</p>}
    </section>
  );
}
