// SPDX-License-Identifier: Apache-2.0
// Which group each node of the map belongs to: namespace, else name prefix, else the community of its calls.

import type { MapAnswer, MapNode } from './answer.ts';

export type GroupBy = 'auto' | 'ns' | 'env' | 'none';
export type Grouping = 'namespace' | 'environment' | 'prefix' | 'community' | 'none';

/** More nodes than this start grouped. */
export const MANY = 60;

export interface Groups {
  by: Grouping;
  /** Each node's group, or '' where it stands alone. */
  of: string[];
}

/** The part of a service's name that its siblings share: `pay-api` and `pay-worker` are `pay`. */
export function prefixOf(name: string): string {
  const end = name.search(/[-._/:]/);
  return end >= 2 ? name.slice(0, end) : '';
}

/** `api.eu.stripe.com` is of `stripe.com`; addresses are of their /16. */
export function domainOf(host: string): string {
  const bare = host.replace(/:\d+$/, '').toLowerCase();
  const address = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(bare);
  if (address) return `${address[1]}.${address[2]}.0.0/16`;
  const parts = bare.split('.').filter((p) => p !== '');
  if (parts.length < 3 || bare.includes('[')) return bare;
  // co.uk, com.au: a country's second level is no one's own.
  const shared = parts[parts.length - 1]!.length === 2 && parts[parts.length - 2]!.length <= 3;
  return parts.slice(shared ? -3 : -2).join('.');
}

/** Communities by label propagation over the calls, heavy edges first; ties go to the smaller label. */
export function communities(answer: MapAnswer): Int32Array {
  const n = answer.nodes.length, label = Int32Array.from({ length: n }, (_, i) => i);
  const near: Array<Array<[number, number]>> = Array.from({ length: n }, () => []);
  for (const e of answer.edges) {
    if (e.s === e.t) continue;
    const w = 1 + Math.log2(1 + e.count);
    near[e.s]!.push([e.t, w]);
    near[e.t]!.push([e.s, w]);
  }
  // A hub would swallow all: what it gives to each is shared among its many.
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => near[a]!.length - near[b]!.length || a - b);
  for (let round = 0; round < 12; round++) {
    let moved = false;
    for (const v of order) {
      const sum = new Map<number, number>();
      for (const [u, w] of near[v]!) sum.set(label[u]!, (sum.get(label[u]!) ?? 0) + w / Math.sqrt(near[u]!.length));
      let best = label[v]!, most = sum.get(best) ?? 0;
      for (const [l, w] of sum) {
        if (w > most + 1e-9 || (w > most - 1e-9 && l < best)) {
          best = l;
          most = w;
        }
      }
      if (best !== label[v]) {
        label[v] = best;
        moved = true;
      }
    }
    if (!moved) break;
  }
  return label;
}

/** A service's key when grouped so; '' for none. */
function keys(nodes: MapNode[], key: (node: MapNode) => string): { of: string[]; covered: number; distinct: number } {
  const count = new Map<string, number>();
  const of = nodes.map((node) => (node.kind === 'service' ? key(node) : ''));
  for (const k of of) if (k !== '') count.set(k, (count.get(k) ?? 0) + 1);
  let covered = 0, services = 0;
  nodes.forEach((node, i) => {
    if (node.kind !== 'service') return;
    services++;
    if ((count.get(of[i]!) ?? 0) > 1) covered++;
  });
  return { of, covered: services > 0 ? covered / services : 0, distinct: count.size };
}

function byCommunity(answer: MapAnswer): string[] {
  const label = communities(answer), busiest = new Map<number, number>();
  answer.nodes.forEach((node, i) => {
    if (node.kind !== 'service') return;
    const best = busiest.get(label[i]!);
    if (best === undefined || node.rate > answer.nodes[best]!.rate) busiest.set(label[i]!, i);
  });
  // A community is named after its busiest service.
  return answer.nodes.map((node, i) =>
    (node.kind === 'service' ? `around ${answer.nodes[busiest.get(label[i]!)!]!.name}` : ''));
}

/** Databases, caches and queues that only one group uses belong to it. */
function adopt(answer: MapAnswer, of: string[]): void {
  const users: Array<Set<string>> = answer.nodes.map(() => new Set());
  for (const e of answer.edges) {
    users[e.t]!.add(of[e.s]!);
    if (answer.nodes[e.s]!.kind !== 'service') users[e.s]!.add(of[e.t]!);
  }
  const found = answer.nodes.map((node, i) => {
    const inner = node.kind === 'database' || node.kind === 'queue' || node.kind === 'unknown';
    return inner && users[i]!.size === 1 ? [...users[i]!][0]! : '';
  });
  found.forEach((group, i) => {
    if (group !== '') of[i] = group;
  });
}

export function groupsOf(answer: MapAnswer, by: GroupBy): Groups {
  const { nodes } = answer;
  let groups: Groups = { by: 'none', of: nodes.map(() => '') };
  const many = nodes.length > MANY;
  if (by === 'ns' || (by === 'auto' && many)) {
    const ns = keys(nodes, (node) => node.ns ?? '');
    const prefix = keys(nodes, (node) => prefixOf(node.name));
    if (ns.distinct > 1 && ns.covered >= 0.5) {
      // A service without a namespace joins the one its name begins with, if there is one.
      const known = new Set(ns.of);
      groups = { by: 'namespace', of: ns.of.map((k, i) => (k === '' && known.has(prefix.of[i]!) ? prefix.of[i]! : k)) };
    } else if (prefix.covered >= 0.5 && prefix.distinct > 1) groups = { by: 'prefix', of: prefix.of };
    else if (by === 'ns' && ns.distinct > 0) groups = { by: 'namespace', of: ns.of };
    else if (by === 'auto') groups = { by: 'community', of: byCommunity(answer) };
  } else if (by === 'env') {
    groups = { by: 'environment', of: keys(nodes, (node) => node.envs?.[0] ?? '').of };
  }
  if (groups.by !== 'none') adopt(answer, groups.of);
  nodes.forEach((node, i) => {
    if (node.kind === 'external') groups.of[i] = domainOf(node.name);
  });
  // One alone is no group.
  const count = new Map<string, number>();
  nodes.forEach((node, i) => {
    const id = groupId(node, groups.of[i]!);
    if (id !== '') count.set(id, (count.get(id) ?? 0) + 1);
  });
  groups.of = groups.of.map((g, i) => ((count.get(groupId(nodes[i]!, g)) ?? 0) > 1 ? g : ''));
  return groups;
}

/** How a group is called in the URL. */
export function groupId(node: MapNode, group: string): string {
  return group === '' ? '' : `${node.kind === 'external' ? 'domain' : 'group'}:${encodeURIComponent(group)}`;
}
