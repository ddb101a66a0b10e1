// SPDX-License-Identifier: Apache-2.0
// The environment that the page's head has chosen, in a filter. It is added to what is sent and never to the address:
// there it has a parameter of its own, which all pages share.
import { quote } from '../lib/links.ts';

// Pieces of a filter: comments, texts, braces, names, and single other characters.
const PIECE = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\]|\\.)*"|`[^`]*`|[{}]|(?:[^\s{}()=~!<>&|^,"`/]|"(?:[^"\\]|\\.)*")(?:[^\s{}()=~!<>&|^,"`]|"(?:[^"\\]|\\.)*")*|\S/g;

/** The filter with "and of this environment" at its end; '' for all environments. "&&" and "||" bind alike and to the left, so
 *  no parentheses are needed, and places in the server's complaints are places in `q`. What is no filter stays as it is:
 *  the server says what is wrong with it. */
export function inEnvironment(q: string, env: string): string {
  if (env === '') return q;
  const condition = `(resource.deployment.environment.name = ${quote(env)} || resource.deployment.environment = ${quote(env)})`;
  if (q.trim() === '') return `{ ${condition} }`;
  let depth = 0;
  let isEmpty = true;
  for (const m of q.matchAll(PIECE)) {
    const [piece] = m;
    if (piece.startsWith('//') || piece.startsWith('/*')) continue;
    if (piece === '{') depth++;
    else if (piece === '}') {
      if (--depth === 0) return q.slice(0, m.index) + (isEmpty ? condition : `&& ${condition}`) + ' ' + q.slice(m.index);
    } else isEmpty = false;
  }
  return q;
}
