// SPDX-License-Identifier: Apache-2.0
// Sorting of rows by a key of the URL: "p95" is the key's own way round, "-p95" the other.

/** Names go up, numbers go down, unless reversed. */
export interface Order {
  key: string;
  reversed: boolean;
}

export const readOrder = (text: string): Order => (text.startsWith('-') ? { key: text.slice(1), reversed: true } : { key: text, reversed: false });
export const isDescending = (order: Order, isText: boolean): boolean => isText === order.reversed;

/** What a click on a column's head makes of the order. */
export const nextOrder = (now: string, key: string): string => (now === key ? `-${key}` : key);

type Value = string | number | null | undefined;

/** A sorted copy. Unknown values stay last either way; equal ones keep the order of `tie`. */
export function sorted<Row>(rows: readonly Row[], order: Order, value: (row: Row, key: string) => Value, tie: (row: Row) => string): Row[] {
  return rows.map((row) => ({ row, v: value(row, order.key) })).sort((a, b) => {
    const none = Number(a.v === null || a.v === undefined) - Number(b.v === null || b.v === undefined);
    if (none !== 0) return none;
    let by = 0;
    if (typeof a.v === 'string' && typeof b.v === 'string') by = a.v < b.v ? -1 : a.v > b.v ? 1 : 0;
    else if (typeof a.v === 'number' && typeof b.v === 'number') by = b.v - a.v;
    if (by !== 0) return order.reversed ? -by : by;
    const s = tie(a.row), t = tie(b.row);
    return s < t ? -1 : s > t ? 1 : 0;
  }).map(({ row }) => row);
}

/** Rows as CSV: quoted where needed; a cell that a spreadsheet would run as a formula is made text. */
export function toCsv(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cell = (v: string | number | null): string => {
    if (v === null) return '';
    let s = String(v);
    if (typeof v === 'string' && /^[=+\-@\t\r]/.test(s)) s = `'${s}`;
    return /[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s;
  };
  return [head, ...rows].map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';
}
