// SPDX-License-Identifier: Apache-2.0
import { render } from 'preact';
import { startKeys } from './lib/keys.ts';
import { startRouting } from './lib/route.ts';
import { startAsking } from './shell/server.tsx';
import { loadFirstPage, Shell } from './shell/shell.tsx';

loadFirstPage();
startRouting();
startKeys();
startAsking();
render(<Shell />, document.getElementById('app')!);
