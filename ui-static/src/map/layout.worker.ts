// SPDX-License-Identifier: Apache-2.0
// The layouts, off the page's thread.
import { lay, type Ask } from './layout.ts';

const scope = self as unknown as { onmessage: ((event: MessageEvent<Ask>) => void) | null; postMessage(answer: unknown): void };
scope.onmessage = (event) => scope.postMessage(lay(event.data));
