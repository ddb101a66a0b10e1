// SPDX-License-Identifier: Apache-2.0
// A table of rows of one height. Past 100 rows only those in sight are in the document, so 10,000 scroll as well as 10.
// It scrolls with its nearest ".scroll" ancestor. Keys: j k or arrows move, Enter opens, o opens a new tab.
import type { ComponentChildren, VNode } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { openHref } from '../lib/route.ts';
import { Icon } from './icons.tsx';

export interface Column<Row> {
  readonly key: string;
  readonly head: ComponentChildren;
  readonly title?: string; // of the head, on hover
  readonly align?: 'left' | 'right';
  readonly width?: string; // '96px', '20%'; without one it takes what is left
  readonly optional?: boolean; // see columns.tsx
  readonly grows?: boolean; // on a wide window it is some times as wide: for pictures
  readonly sorts?: boolean;
  readonly class?: string;
  readonly cell: (row: Row, index: number) => ComponentChildren;
}

const WHOLE_MAX = 100; // rows that are simply drawn all
const MARGIN = 8; // rows above and below what is in sight

export function Table<Row>({
  label,
  columns,
  rows,
  rowKey,
  sort,
  descending = true,
  onSort,
  rowHref,
  onOpen,
  rowClass,
  rowHeight = 28,
}: {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row, index: number) => string;
  sort?: string;
  descending?: boolean;
  onSort?: (key: string) => void;
  /** A click or Enter follows it, unless onOpen is there; o and middle click open a tab. */
  rowHref?: (row: Row) => string;
  onOpen?: (row: Row, index: number) => void;
  rowClass?: (row: Row) => string;
  rowHeight?: number;
}) {
  const body = useRef<HTMLTableSectionElement>(null);
  const windowed = rows.length > WHOLE_MAX;
  const sight = useSignal<readonly [number, number, number]>([0, WHOLE_MAX, WHOLE_MAX]);
  const cursor = useSignal(0);
  const opens = rowHref !== undefined || onOpen !== undefined;

  useEffect(() => {
    if (!windowed) return;
    const scroller = body.current!.closest<HTMLElement>('.scroll') ?? document.documentElement;
    let frame = 0;
    const look = () => {
      frame = 0;
      if (body.current === null) return;
      const top = body.current.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(-top / rowHeight) - MARGIN);
      const last = Math.min(rows.length, Math.ceil((scroller.clientHeight - top) / rowHeight) + MARGIN);
      const [a, b] = sight.value;
      if (a !== first || b !== last) sight.value = [first, Math.max(first, last), Math.ceil(scroller.clientHeight / rowHeight) + 2 * MARGIN + 1];
    };
    const later = () => (frame ||= requestAnimationFrame(look));
    look();
    scroller.addEventListener('scroll', later, { passive: true });
    const resized = new ResizeObserver(later);
    resized.observe(scroller);
    return () => {
      cancelAnimationFrame(frame);
      scroller.removeEventListener('scroll', later);
      resized.disconnect();
    };
  }, [windowed, rows.length, rowHeight]);
  const wantsFocus = useRef(false);
  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    wantsFocus.current = false;
    body.current?.querySelector<HTMLElement>(`tr[data-row="${cursor.value}"]`)?.focus();
  });

  // Scrolling draws the rows anew that come into sight, and no others: their elements are kept while nothing but the
  // place changes.
  const made = useRef<{ of: readonly unknown[]; rows: Map<Row, { index: number; isAt: boolean; node: VNode }>; linked: WeakMap<Element, Row> }>({ of: [], rows: new Map(), linked: new WeakMap() });
  const of = [columns, rows, rowKey, rowHref, onOpen, rowClass, rowHeight];
  if (of.some((x, i) => x !== made.current.of[i])) made.current = { of, rows: new Map(), linked: new WeakMap() };

  // The row is the stop of the Tab key; its own link again inside it would be a second one.
  useLayoutEffect(() => {
    if (rowHref === undefined || body.current === null) return;
    for (const tr of body.current.querySelectorAll<HTMLElement>('tr[data-row]')) {
      const row = rows[Number(tr.dataset.row)];
      if (row === undefined || made.current.linked.get(tr) === row) continue;
      made.current.linked.set(tr, row);
      const link = rowHref(row);
      for (const a of tr.querySelectorAll('a')) if (a.getAttribute('href') === link) a.tabIndex = -1;
    }
  });

  // The elements of rows that go out of sight become those that come into it: a key is a place in a ring.
  const ring = sight.value[1] === sight.value[0] ? 1 : sight.value[2];
  const [first, last] = windowed ? [Math.min(sight.value[0], rows.length), Math.min(sight.value[1], rows.length)] : [0, rows.length];
  const at = Math.min(cursor.value, Math.max(0, rows.length - 1));
  const moveTo = (to: number) => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    cursor.value = index;
    wantsFocus.current = true;
    const scroller = body.current?.closest<HTMLElement>('.scroll');
    if (scroller && body.current) {
      const top = body.current.getBoundingClientRect().top - scroller.getBoundingClientRect().top + index * rowHeight;
      if (top < rowHeight * 2) scroller.scrollTop += top - rowHeight * 2;
      else if (top + rowHeight * 2 > scroller.clientHeight) scroller.scrollTop += top + rowHeight * 2 - scroller.clientHeight;
    }
  };
  const activate = (row: Row, index: number) => {
    if (onOpen !== undefined) onOpen(row, index);
    else if (rowHref !== undefined) openHref(rowHref(row));
  };
  const onKey = (e: KeyboardEvent) => {
    const target = e.target as HTMLElement;
    if (target.tagName !== 'TR' || e.ctrlKey || e.metaKey || e.altKey) return;
    const row = rows[at];
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[e.key];
    if (step !== undefined) moveTo(at + step);
    else if (row === undefined) return;
    else if (e.key === 'Enter' && opens) activate(row, at);
    else if (e.key === 'o' && rowHref !== undefined) window.open(rowHref(row), '_blank', 'noopener');
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  const onClick = (e: MouseEvent, row: Row, index: number) => {
    cursor.value = index;
    const target = e.target as HTMLElement;
    if (!opens || e.defaultPrevented || target.closest('a, button, input, label, select') !== null) return;
    if (String(getSelection() ?? '') !== '') return; // text is being selected
    if (rowHref !== undefined && (e.ctrlKey || e.metaKey)) window.open(rowHref(row), '_blank', 'noopener');
    else activate(row, index);
  };

  return (
    <table class={`table ${opens ? 'opens' : ''}`} aria-label={label} aria-rowcount={rows.length + 1}>
      <colgroup>
        {columns.map((c) => (
          <col key={c.key} class={c.grows === true ? 'grows' : ''} style={c.width === undefined ? {} : { width: c.width }} />
        ))}
      </colgroup>
      <thead>
        <tr>
          {columns.map((c) => (
            <th
              key={c.key}
              scope="col"
              class={c.align === 'right' ? 'right' : ''}
              title={c.title}
              aria-sort={c.sorts === true && sort === c.key ? (descending ? 'descending' : 'ascending') : undefined}
            >
              {c.sorts === true && onSort !== undefined ? (
                <button type="button" class="sort" onClick={() => onSort(c.key)}>
                  {c.head}
                  {sort === c.key && <Icon name={descending ? 'down' : 'up'} size={12} />}
                </button>
              ) : c.head === '' ? (
                <span class="visually-hidden">{c.title ?? c.key}</span>
              ) : (
                c.head
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody ref={body} onKeyDown={onKey}>
        {first > 0 && <tr class="spacer" aria-hidden="true" style={{ height: `${first * rowHeight}px` }} />}
        {rows.slice(first, last).map((row, i) => {
          const index = first + i, isAt = index === at;
          const kept = made.current.rows.get(row);
          if (kept !== undefined && kept.index === index && kept.isAt === isAt) return kept.node;
          if (made.current.rows.size > 4 * WHOLE_MAX) made.current.rows.clear();
          const node = (
            <tr
              key={windowed ? index % ring : rowKey(row, index)}
              data-row={index}
              aria-rowindex={index + 2}
              class={rowClass?.(row) ?? ''}
              tabIndex={isAt ? 0 : -1}
              style={{ height: `${rowHeight}px` }}
              onFocus={() => (cursor.value = index)}
              onClick={(e) => onClick(e, row, index)}
            >
              {columns.map((c) => (
                <td key={c.key} class={`${c.align === 'right' ? 'right num' : ''} ${c.class ?? ''}`}>
                  {c.cell(row, index)}
                </td>
              ))}
            </tr>
          );
          made.current.rows.set(row, { index, isAt, node });
          return node;
        })}
        {last < rows.length && (
          <tr class="spacer" aria-hidden="true" style={{ height: `${(rows.length - last) * rowHeight}px` }} />
        )}
      </tbody>
    </table>
  );
}
