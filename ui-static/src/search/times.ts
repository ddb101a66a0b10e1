// SPDX-License-Identifier: Apache-2.0
import { resolveTime, type Range } from '../lib/time.ts';

/** The range as a list with pages asks for it. A cursor serves only the question that gave it, word by word, so bounds
 *  that move are sent as they are written; the cursor keeps what they meant. */
export function pagedTimes(fromExpr: string, toExpr: string, r: Range): { from: string; to: string } {
  const word = (expr: string, at: bigint): string => (expr.startsWith('now') && resolveTime(expr, r.to) !== undefined ? expr : at.toString());
  const [from, to] = [resolveTime(fromExpr, r.to), resolveTime(toExpr, r.to)];
  // Bounds that stand the wrong way round, or are none, have been put right in the range.
  if (from === undefined || to === undefined || from >= to) return { from: r.from.toString(), to: r.to.toString() };
  return { from: word(fromExpr, r.from), to: word(toExpr, r.to) };
}
