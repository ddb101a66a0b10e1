// SPDX-License-Identifier: Apache-2.0
// What the map calls things, and its doors to the spans behind its numbers.
import { filterOf, quote, spanFilter } from '../lib/links.ts';
import type { GapReason, MapAnswer, MapNode } from './answer.ts';
import { rateOf, shapeOf } from './draw.ts';
import type { Link, Vertex } from './graph.ts';
import type { Grouping } from './group.ts';

export { rateOf };

export function kindWord(v: { kind: MapNode['kind']; system: string }): string {
  switch (v.kind) {
    case 'service': return 'service';
    case 'database': return `${shapeOf(v) === 'diamond' ? 'cache' : 'database'}${v.system === '' ? '' : ` (${v.system})`}`;
    case 'queue': return `queue${v.system === '' ? '' : ` (${v.system})`}`;
    case 'external': return 'external host';
    case 'user': return 'callers outside';
    case 'unknown': return 'unknown callee';
    case 'group': return 'group';
    default: return 'other';
  }
}

/** What the numbers of a service count: one that answers no calls has all its spans counted. */
export const countedAs = (basis: MapNode['basis']): string => (basis === 'all' ? 'span' : 'call');

export const groupingWord = (by: Grouping): string =>
  ({ namespace: 'by namespace', environment: 'by environment', prefix: 'by the names’ beginnings', community: 'by who calls whom', none: '' })[by];

export const gapText: Record<GapReason, { short: string; long: string }> = {
  no_server: {
    short: 'calls without a server span',
    long: 'The client’s span arrived, its server’s did not: the callee is not instrumented, does not read the trace context, or drops its spans.',
  },
  broken_parent: {
    short: 'spans whose parent never came',
    long: 'The caller’s span is missing: it was lost or cut on its way, or the caller is not instrumented but passes the context on.',
  },
  sampled: {
    short: 'calls of which one side was sampled out',
    long: 'The two sides decide differently which traces they keep. Let the first service decide, and the others follow it.',
  },
  expired: {
    short: 'calls that ended after their trace was counted',
    long: 'The other side’s span came too late to be joined. The trace itself shows both.',
  },
};

/** The names of the services in a vertex, at most so many. */
export const servicesIn = (answer: MapAnswer, v: Vertex, most = 20): string[] =>
  v.members.map((i) => answer.nodes[i]!).filter((node) => node.kind === 'service').slice(0, most).map((node) => node.name);

/** The entry spans of a vertex as TraceQL: those its numbers count. undefined where no filter names them. */
export function vertexQuery(answer: MapAnswer, v: Vertex, more: { isError?: boolean; minDuration_ns?: number } = {}): string | undefined {
  const rest = [
    more.isError === true && 'status = error',
    more.minDuration_ns !== undefined && `duration >= ${Math.round(more.minDuration_ns)}ns`,
  ];
  const all = servicesIn(answer, v, 30);
  if (all.length === 1) {
    const basis = answer.nodes[v.members[0]!]!.basis;
    return filterOf(`resource.service.name = ${quote(all[0]!)}`, basis === 'all' ? undefined : '(kind = server || kind = consumer)', ...rest);
  }
  if (all.length > 1) return filterOf(`(${all.map((name) => `resource.service.name = ${quote(name)}`).join(' || ')})`, ...rest);
  const node = answer.nodes[v.members[0]!]!;
  return calleeCondition(node) === undefined ? undefined : filterOf(calleeCondition(node), ...rest);
}

const anyOf = (...conditions: string[]): string => (conditions.length === 1 ? conditions[0]! : `(${conditions.join(' || ')})`);
const equals = (keys: readonly string[], value: string): string[] => keys.map((key) => `span.${key} = ${value}`);

const ADDRESS = ['server.address', 'network.peer.address', 'net.peer.name'], PORT = ['server.port', 'network.peer.port', 'net.peer.port'];
const QUEUE = ['messaging.destination.template', 'messaging.destination.name', 'messaging.destination'];

/** A host as spans name it: "api.example.com:443" is an address and a port. */
function hostCondition(name: string): string {
  const parts = /^(.*[^:]):(\d{1,5})$/.exec(name);
  if (parts === null) return anyOf(...equals([...ADDRESS, 'peer.service'], quote(name)));
  return `${anyOf(...equals(ADDRESS, quote(parts[1]!)))} && ${anyOf(...equals(PORT, parts[2]!))}`;
}

/** How a client's span names a callee that is no service. */
function calleeCondition(node: MapNode): string | undefined {
  if (node.kind === 'external') return hostCondition(node.name);
  if (node.kind === 'queue') return anyOf(...equals(QUEUE, quote(node.name)));
  if (node.kind !== 'database' || node.system === undefined || node.system === '') return undefined;
  const system = anyOf(...equals(['db.system.name', 'db.system'], quote(node.system)));
  if (node.name === '' || node.name === node.system) return system;
  const host = node.name.replace(/:\d{1,5}$/, '');
  return `${system} && ${anyOf(...equals(['db.namespace', 'db.name'], quote(node.name)), ...equals(['server.address'], quote(host)))}`;
}

/** The spans of an edge's calls, as seen by the side that is known best. */
export function edgeQuery(answer: MapAnswer, e: Link, more: { isError?: boolean; minDuration_ns?: number } = {}): string | undefined {
  if (e.parts.length !== 1) return undefined;
  const part = answer.edges[e.parts[0]!]!, from = answer.nodes[part.s]!, to = answer.nodes[part.t]!;
  const rest = [
    more.isError === true && 'status = error',
    more.minDuration_ns !== undefined && `duration >= ${Math.round(more.minDuration_ns)}ns`,
  ];
  // A batch is received by a client's or a consumer's span, whichever its library makes.
  if (from.kind === 'queue') return to.kind === 'service' ? filterOf(`resource.service.name = ${quote(to.name)}`, calleeCondition(from), ...rest) : undefined;
  if (to.kind === 'service') {
    return spanFilter({ service: to.name, kind: e.async ? 'consumer' : 'server', isError: more.isError, minDuration_ns: more.minDuration_ns });
  }
  if (from.kind !== 'service' || calleeCondition(to) === undefined) return undefined;
  return filterOf(`resource.service.name = ${quote(from.name)}`, `kind = ${e.async ? 'producer' : 'client'}`, calleeCondition(to), ...rest);
}
