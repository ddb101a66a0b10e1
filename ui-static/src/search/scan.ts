// SPDX-License-Identifier: Apache-2.0
import type { Scan } from '../api/types.ts';
import { formatBytes } from '../lib/units.ts';

/** What a search read, for the foot. */
export function scanText(a: Scan): string {
  const read = a.scanned === undefined ? '' : `read ${formatBytes(a.scanned.bytes)} in ${Math.round(a.took_ms)} ms · `;
  return read + (a.complete ? 'complete' : 'not complete');
}
