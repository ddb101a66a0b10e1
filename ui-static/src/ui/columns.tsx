// SPDX-License-Identifier: Apache-2.0
// Which columns of a table are shown: this browser's choice, kept with its other preferences.
import { prefer, preferences } from '../lib/store.ts';
import { Menu } from './popup.tsx';

interface Choosable {
  readonly key: string;
  readonly head: unknown;
  /** Not shown before it is chosen. */
  readonly optional?: boolean;
}

/** Kept is only what differs from the table's own choice, so that a new column is seen by everybody. */
const nameOf = (table: string, key: string): string => `${table}:${key}`;
const isShown = (table: string, c: Choosable): boolean => (c.optional === true) === preferences.value.columns.includes(nameOf(table, c.key));

/** The first column names the row: it always stays. */
export const shownColumns = <C extends Choosable>(table: string, all: readonly C[]): C[] => all.filter((c, i) => i === 0 || isShown(table, c));

/** `names` for columns whose head says nothing. */
export function ColumnsMenu({ table, all, names = {} }: { table: string; all: readonly Choosable[]; names?: Readonly<Record<string, string>> }) {
  const toggle = (name: string): void => {
    const { columns } = preferences.peek();
    prefer({ columns: columns.includes(name) ? columns.filter((c) => c !== name) : [...columns, name] });
  };
  return (
    <Menu
      label="Columns"
      text="Columns"
      icon="table"
      kind="quiet"
      align="end"
      items={all.slice(1).map((c) => ({ label: names[c.key] ?? (typeof c.head === 'string' ? c.head : c.key), isOn: isShown(table, c), run: () => toggle(nameOf(table, c.key)) }))}
    />
  );
}
