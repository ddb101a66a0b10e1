// SPDX-License-Identifier: Apache-2.0
import { render } from 'preact';
import { startKeys } from './lib/keys.ts';
import { startRouting } from './lib/route.ts';
import { startAsking } from './shell/server.tsx';
import { loadFirstPage, Shell } from './shell/shell.tsx';

// Its address is relative to the document's, which changes with every page that is opened.
const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
if (icon !== null) icon.href = icon.href;

loadFirstPage();
startRouting();
startKeys();
startAsking();
render(<Shell />, document.getElementById('app')!);
