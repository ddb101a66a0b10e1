// SPDX-License-Identifier: Apache-2.0
// OTLP's values as text, and as TraceQL writes them.
import { literal, quote } from '../lib/links.ts';

export interface AnyValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string | number;
  doubleValue?: number | string;
  bytesValue?: string;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
}
export interface KeyValue {
  key: string;
  value?: AnyValue;
}

const MAX_DEPTH = 32;

/** As JSON would have it: strings bare at the top, quoted inside. */
export function valueText(v: AnyValue | undefined, depth = 0): string {
  if (v === undefined || depth > MAX_DEPTH) return '';
  if (v.stringValue !== undefined) return depth === 0 ? v.stringValue : JSON.stringify(v.stringValue);
  if (v.boolValue !== undefined) return String(v.boolValue);
  if (v.intValue !== undefined) return String(v.intValue);
  if (v.doubleValue !== undefined) return String(v.doubleValue);
  if (v.bytesValue !== undefined) return v.bytesValue;
  if (v.arrayValue !== undefined) return `[${(v.arrayValue.values ?? []).map((one) => valueText(one, depth + 1)).join(', ')}]`;
  if (v.kvlistValue !== undefined)
    return `{${(v.kvlistValue.values ?? []).map((kv) => `${JSON.stringify(kv.key)}: ${valueText(kv.value, depth + 1)}`).join(', ')}}`;
  return '';
}

export function valueType(v: AnyValue | undefined): string {
  if (v === undefined) return 'empty';
  for (const [field, name] of [
    ['stringValue', 'string'], ['boolValue', 'bool'], ['intValue', 'int'], ['doubleValue', 'double'],
    ['bytesValue', 'bytes'], ['arrayValue', 'array'], ['kvlistValue', 'map'],
  ] as const)
    if (v[field] !== undefined) return name;
  return 'empty';
}

/** The value in a filter; of an array its first element; undefined for what a filter cannot compare with. */
export function valueLiteral(v: AnyValue | undefined): string | undefined {
  if (v === undefined) return undefined;
  if (v.stringValue !== undefined) return quote(v.stringValue);
  if (v.boolValue !== undefined) return literal(v.boolValue);
  if (v.intValue !== undefined) return String(v.intValue);
  if (v.doubleValue !== undefined && Number.isFinite(Number(v.doubleValue))) return String(v.doubleValue);
  if (v.arrayValue !== undefined) return valueLiteral(v.arrayValue.values?.[0]);
  return undefined;
}

const SQL_BREAK =
  /\s+((?:(?:LEFT|RIGHT|INNER|OUTER|FULL|CROSS)\s+)*JOIN|FROM|WHERE|AND|OR|GROUP BY|ORDER BY|HAVING|LIMIT|OFFSET|VALUES|SET|ON|UNION|RETURNING)\b/gi;

/** The text laid out where it is JSON or SQL; undefined where it is neither. */
export function prettyText(key: string, text: string): string | undefined {
  if (/^\s*[[{]/.test(text) && text.length < 1_000_000)
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Not JSON after all.
    }
  if (/\b(?:query|statement|sql)\b/i.test(key.replace(/[._]/g, ' ')) && /^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b/i.test(text)) return text.replace(SQL_BREAK, '\n$1');
  return undefined;
}
