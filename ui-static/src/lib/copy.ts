// SPDX-License-Identifier: Apache-2.0
// Copying, and saying so.
import { notify } from './notice.ts';
import { flushAddress, href, place } from './route.ts';
import { range } from './time.ts';

export async function copyText(text: string, what = 'Copied'): Promise<boolean> {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    // Plain http on another host has no clipboard: the old way serves.
    const field = document.createElement('textarea');
    field.value = text;
    field.className = 'visually-hidden';
    document.body.append(field);
    field.select();
    done = document.execCommand('copy');
    field.remove();
  }
  notify(done ? what : 'The browser does not allow copying here.');
  return done;
}

/** The address of what is seen now. Unless `live`, "now-…" becomes the absolute time that is shown. */
export function viewLink(live: boolean): string {
  flushAddress();
  const url = new URL(location.href);
  if (!live && place.value.route !== 'signin') {
    url.searchParams.set('from', range.value.from.toString());
    url.searchParams.set('to', range.value.to.toString());
  }
  return url.href;
}
export const copyLink = (live: boolean): Promise<boolean> =>
  copyText(viewLink(live), live ? 'Live link copied' : 'Link copied');

/** The full address of a trace, for a copy button. */
export const traceLink = (id: string): string => location.origin + href('trace', id);
