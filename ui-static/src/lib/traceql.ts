// SPDX-License-Identifier: Apache-2.0
// Filters as text and as chips. The text is what counts; chips are its conditions where it is one flat
// "{ a && b && c }", and anything else is one whole that only the text can edit. Nothing is lost on the way: a
// condition that is not understood keeps its own text.
import { filterOf, quote } from './links.ts';

export type TokenKind = 'name' | 'text' | 'op' | 'open' | 'close' | 'other';
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly from: number;
  readonly to: number;
}

export const OPERATORS = ['=', '!=', '>', '>=', '<', '<=', '=~', '!~', 'contains'] as const;
const OPERATOR = /^(?:&&|\|\||=~|!~|!=|>=|<=|>>|<<|[=<>!+\-*/%^|,])/;
// A name ends at a blank or at one of these; quoted parts may hold anything.
const NAME = /^(?:[^\s{}()=~!<>&|^,"`]|"(?:[^"\\]|\\.)*"?)+/;
const TEXT = /^(?:"(?:[^"\\]|\\.)*"?|`[^`]*`?)/;

export function tokens(q: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  while (at < q.length) {
    const rest = q.slice(at);
    const blank = /^\s+/.exec(rest);
    if (blank !== null) {
      at += blank[0].length;
      continue;
    }
    let kind: TokenKind = 'other';
    let text = rest[0]!;
    if (text === '"' || text === '`') [kind, text] = ['text', TEXT.exec(rest)![0]];
    else if ('{('.includes(text)) kind = 'open';
    else if ('})'.includes(text)) kind = 'close';
    else {
      const op = OPERATOR.exec(rest);
      const name = NAME.exec(rest);
      // A minus before a digit belongs to the number.
      if (/^-\d/.test(rest) && name !== null) [kind, text] = ['name', name[0]];
      else if (op !== null) [kind, text] = ['op', op[0]];
      else if (name !== null) [kind, text] = [name[0] === 'contains' ? 'op' : 'name', name[0]];
    }
    out.push({ kind, text, from: at, to: at + text.length });
    at += text.length;
  }
  return out;
}

export interface Chip {
  /** The condition as it is written. */
  readonly text: string;
  /** Its parts where it is "name op value"; else '' all three. */
  readonly name: string;
  readonly op: string;
  readonly value: string;
}

function chipOf(q: string, part: readonly Token[]): Chip {
  const text = q.slice(part[0]!.from, part.at(-1)!.to);
  const [a, b, c] = part;
  const isPlain =
    part.length === 3 && a!.kind === 'name' && b!.kind === 'op' && (OPERATORS as readonly string[]).includes(b!.text) && (c!.kind === 'name' || c!.kind === 'text');
  return isPlain ? { text, name: a!.text, op: b!.text, value: c!.text } : { text, name: '', op: '', value: '' };
}

/** The conditions of a flat filter; undefined where the text is not one. An empty text has none. */
export function chipsOf(q: string): Chip[] | undefined {
  const all = tokens(q);
  if (all.length === 0) return [];
  if (all[0]!.text !== '{' || all.at(-1)!.text !== '}' || all.length < 2) return undefined;
  const inner = all.slice(1, -1);
  const chips: Chip[] = [];
  let part: Token[] = [];
  let depth = 0;
  for (const t of inner) {
    if (t.text === '{' || t.text === '}' || t.kind === 'other') return undefined;
    if (t.text === '(') depth++;
    if (t.text === ')' && --depth < 0) return undefined;
    // "&&" and "||" bind alike, so one "||" outside of parentheses makes the whole a tree.
    if (depth === 0 && t.text === '||') return undefined;
    if (depth === 0 && t.text === '&&') {
      if (part.length === 0) return undefined;
      chips.push(chipOf(q, part));
      part = [];
    } else part.push(t);
  }
  if (depth !== 0 || (part.length === 0 && chips.length > 0)) return undefined;
  if (part.length > 0) chips.push(chipOf(q, part));
  return chips;
}

export const formatChips = (chips: readonly Pick<Chip, 'text'>[]): string => filterOf(...chips.map((c) => c.text));

/** The filter with one more condition, unless it has it. */
export function withCondition(q: string, condition: string): string {
  const chips = chipsOf(q);
  if (chips === undefined) {
    const inner = /^\s*\{([\s\S]*)\}\s*$/.exec(q);
    return inner === null || inner[1]!.trim() === '' ? `{ ${condition} }` : `{ (${inner[1]!.trim()}) && ${condition} }`;
  }
  if (chips.some((c) => c.text === condition)) return q;
  return formatChips([...chips, { text: condition }]);
}

/** The filter without its n-th condition. */
export const withoutCondition = (q: string, n: number): string =>
  formatChips((chipsOf(q) ?? []).filter((_, i) => i !== n));

/** The filter with one condition for this name: the first is replaced, others on it go. An empty condition removes. */
export function withReplaced(q: string, name: string, condition: string): string {
  const chips = chipsOf(q);
  if (chips === undefined) return condition === '' ? q : withCondition(q, condition);
  const at = chips.findIndex((c) => c.name === name);
  const rest: Pick<Chip, 'text'>[] = chips.filter((c) => c.name !== name);
  if (condition !== '') rest.splice(at < 0 ? rest.length : Math.min(at, rest.length), 0, { text: condition });
  return formatChips(rest);
}

export const hexId = (s: string): string | undefined =>
  /^\s*(?:0x)?([0-9a-f]{32}|[0-9a-f]{16})\s*$/i.exec(s)?.[1]?.toLowerCase();

/** What a person typed, as a filter: braces are added, bare words are looked for. */
export function asFilter(typed: string, signal: 'traces' | 'logs'): string {
  const s = typed.trim();
  if (s === '') return '';
  const words = (w: string): string =>
    signal === 'logs' ? `text = ${quote(w)}` : `(name contains ${quote(w)} || resource.service.name contains ${quote(w)})`;
  if (s.startsWith('{')) {
    // "{ severity >= warn } timeout": what follows the filter is looked for in what it finds.
    const last = s.lastIndexOf('}');
    const after = last < 0 ? '' : s.slice(last + 1).trim();
    return signal === 'logs' && /^[^|&>~<!=]/.test(after) ? withCondition(s.slice(0, last + 1), words(after)) : s;
  }
  const all = tokens(s);
  const isCondition = all.length > 2 && all.some((t) => (OPERATORS as readonly string[]).includes(t.text));
  return `{ ${isCondition ? s : words(s.replace(/^"([^"]*)"$/, '$1'))} }`;
}

export interface Completion {
  readonly what: 'name' | 'op' | 'value' | 'join';
  /** The piece of text that a suggestion replaces. */
  readonly from: number;
  readonly to: number;
  readonly typed: string;
  /** The attribute whose value or operator is asked for. */
  readonly name: string;
}

/** What fits at the caret. */
export function completionAt(q: string, caret: number): Completion {
  const before = tokens(q.slice(0, caret));
  const last = before.at(-1);
  const touches = last !== undefined && last.to === caret && (last.kind === 'name' || last.kind === 'text');
  const done = touches ? before.slice(0, -1) : before;
  const from = touches ? last.from : caret;
  // The rest of the piece behind the caret goes with it.
  const whole = touches ? tokens(q).find((t) => t.from === from) : undefined;
  const to = whole?.to ?? caret;
  const typed = touches ? last.text : '';
  const previous = done.at(-1);
  const isComparison = (t: Token | undefined): boolean => t?.kind === 'op' && (OPERATORS as readonly string[]).includes(t.text);
  if (isComparison(previous)) return { what: 'value', from, to, typed, name: done.at(-2)?.text ?? '' };
  if (previous?.kind === 'name' && isComparison(done.at(-2))) return { what: 'join', from, to, typed, name: '' };
  if (previous?.kind === 'text') return { what: 'join', from, to, typed, name: '' };
  if (previous?.kind === 'name') return { what: 'op', from, to, typed, name: previous.text };
  if (previous?.text === ')') return { what: 'join', from, to, typed, name: '' };
  return { what: 'name', from, to, typed, name: '' };
}
