// SPDX-License-Identifier: Apache-2.0
// Links between signals: one function for each, so that they agree everywhere.
import { href } from './route.ts';

/** A TraceQL string. */
export const quote = (s: string): string =>
  '"' +
  s.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n').replace(/\r/g, '\\r').replace(/\t/g, '\\t').replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f\u2028\u2029]/g,
    (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'),
  ) +
  '"';

/** An attribute's name as TraceQL writes it: resource.service.name, span."odd key". */
export const attributeName = (scope: 'resource' | 'span' | 'event' | 'link' | 'instrumentation' | 'log' | '', key: string): string =>
  scope + '.' + (/^[^\s{}()=~!<>&|^,"`]+$/.test(key) && !key.startsWith('.') && !key.endsWith('.') ? key : quote(key));

export type AttributeValue = string | number | boolean | bigint;
export const literal = (v: AttributeValue): string => (typeof v === 'string' ? quote(v) : String(v));

/** One filter of all conditions: "{ a && b }"; '' of none. */
export const filterOf = (...conditions: (string | undefined | false)[]): string => {
  const given = conditions.filter((c): c is string => typeof c === 'string' && c !== '');
  return given.length === 0 ? '' : `{ ${given.join(' && ')} }`;
};

export interface SpanCriteria {
  service?: string | undefined;
  operation?: string | undefined;
  isError?: boolean | undefined;
  minDuration_ns?: number | undefined;
  maxDuration_ns?: number | undefined;
  kind?: string | undefined;
  /** Only spans that answer a call. */
  isEntry?: boolean | undefined;
}
export const spanFilter = (c: SpanCriteria): string =>
  filterOf(
    c.service !== undefined && `resource.service.name = ${quote(c.service)}`,
    c.operation !== undefined && `name = ${quote(c.operation)}`,
    c.kind !== undefined && `kind = ${c.kind}`,
    c.isEntry === true && '(kind = server || kind = consumer)',
    c.isError === true && 'status = error',
    c.minDuration_ns !== undefined && `duration >= ${Math.round(c.minDuration_ns)}ns`,
    c.maxDuration_ns !== undefined && `duration <= ${Math.round(c.maxDuration_ns)}ns`,
  );

/** A percentile as a filter's lower end. It is told within a relative error: a little less, so as not to miss the spans it is of. */
export const fromPercentile = (ns: number): number => Math.floor(ns * 0.99);

type Times = { from?: string; to?: string };
export const tracesHref = (criteria: SpanCriteria | string, times: Times = {}): string =>
  href('traces', '', { q: typeof criteria === 'string' ? criteria : spanFilter(criteria), ...times });
export const traceHref = (id: string, span = '', extra: { a?: string; tab?: 'logs' | 'map' | 'spans' | 'flame' } = {}): string =>
  href('trace', id, { span, ...extra });
export const serviceHref = (name: string, patch: { tab?: 'operations' | 'dependencies' | 'instances' | 'errors' | 'logs'; op?: string } = {}): string =>
  href('service', name, patch);
export const mapHref = (node: string): string => href('map', '', { focus: node, sel: node });
export const logsHref = (conditions: { service?: string; trace?: string; span?: string; minSeverity?: string }, times: Times = {}): string =>
  href('logs', '', {
    q: filterOf(
      conditions.service !== undefined && `resource.service.name = ${quote(conditions.service)}`,
      conditions.minSeverity !== undefined && `severity >= ${conditions.minSeverity}`,
      conditions.trace !== undefined && `trace:id = ${quote(conditions.trace)}`,
      conditions.span !== undefined && `span:id = ${quote(conditions.span)}`,
    ),
    ...times,
  });

/** A peer's value as a link, if it is an http or https address; else undefined. */
export function webLink(value: string): string | undefined {
  if (!/^https?:\/\//i.test(value) || value.length > 2048) return undefined;
  try {
    const url = new URL(value);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : undefined;
  } catch {
    return undefined;
  }
}
