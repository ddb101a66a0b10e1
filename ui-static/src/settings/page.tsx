// SPDX-License-Identifier: Apache-2.0
// Preferences of this browser.
import type { ComponentChildren } from 'preact';
import { hasToken, setToken } from '../api/client.ts';
import { href, openHref } from '../lib/route.ts';
import { prefer, preferences } from '../lib/store.ts';
import { zoneName } from '../lib/time.ts';
import { meta } from '../shell/server.tsx';
import { Page } from '../shell/page.tsx';
import { Button, Chip, Choice, Select } from '../ui/button.tsx';

function Setting({ name, note, children }: { name: string; note?: ComponentChildren; children: ComponentChildren }) {
  return (
    <div class="setting">
      <div class="setting-name">
        <h3>{name}</h3>
        {note !== undefined && <p class="dim">{note}</p>}
      </div>
      <div class="setting-control">{children}</div>
    </div>
  );
}

export default function SettingsPage() {
  const p = preferences.value;
  const zones = ((Intl as { supportedValuesOf?: (key: string) => string[] }).supportedValuesOf?.('timeZone') ?? []).filter((z) => z !== 'UTC');
  return (
    <Page title={['Settings']} foot="Kept in this browser; links do not carry them.">
      <div class="pad settings">
        <section class="card">
          <header>
            <h2>Look</h2>
          </header>
          <Setting name="Theme" note="Shift D switches.">
            <Choice
              label="Theme"
              value={p.theme}
              options={[
                ['system', 'As the system'],
                ['light', 'Light'],
                ['dark', 'Dark'],
              ]}
              onChange={(theme) => prefer({ theme })}
            />
          </Setting>
          <Setting name="Density" note="Height of rows in traces and lists.">
            <Choice
              label="Density"
              value={p.density}
              options={[
                ['normal', 'Normal'],
                ['compact', 'Compact'],
              ]}
              onChange={(density) => prefer({ density })}
            />
          </Setting>
        </section>
        <section class="card">
          <header>
            <h2>Time</h2>
          </header>
          <Setting name="Time zone" note={`This computer is in ${zoneName('local') ?? 'UTC'}.`}>
            <Select
              label="Time zone"
              value={p.zone}
              options={[['local', 'As this computer'], ['utc', 'UTC'], ...zones.map((z) => [z, z.replaceAll('_', ' ')] as const)]}
              onChange={(zone) => prefer({ zone })}
            />
          </Setting>
          <Setting name="Refresh" note="Of ranges that end now. It rests while something is selected, or the tab is hidden.">
            <Select
              label="Refresh"
              value={String(p.refresh_s)}
              options={[
                ['0', 'By hand'],
                ['5', 'Every 5 s'],
                ['10', 'Every 10 s'],
                ['30', 'Every 30 s'],
                ['60', 'Every minute'],
                ['300', 'Every 5 minutes'],
              ]}
              onChange={(s) => prefer({ refresh_s: +s })}
            />
          </Setting>
        </section>
        <section class="card">
          <header>
            <h2>Keyboard</h2>
          </header>
          <Setting name="Single-key shortcuts" note="Ctrl K, Escape and Tab work either way. ? lists all.">
            <Choice
              label="Single-key shortcuts"
              value={p.keys ? 'on' : 'off'}
              options={[
                ['on', 'On'],
                ['off', 'Off'],
              ]}
              onChange={(v) => prefer({ keys: v === 'on' })}
            />
          </Setting>
        </section>
        {p.pins.length > 0 && (
          <section class="card">
            <header>
              <h2>Pinned attributes</h2>
            </header>
            <Setting name="Shown first" note="In the panel of a span.">
              <div class="row wrap">
                {p.pins.map((pin) => (
                  <Chip key={pin} label={pin} onRemove={() => prefer({ pins: p.pins.filter((other) => other !== pin) })}>
                    <span class="mono">{pin}</span>
                  </Chip>
                ))}
              </div>
            </Setting>
          </section>
        )}
        {(meta.value?.auth === true || hasToken.value) && (
          <section class="card">
            <header>
              <h2>Access</h2>
            </header>
            <Setting name="Token" note="The server asks for one.">
              <Button
                icon="key"
                onClick={() => {
                  setToken('', false);
                  openHref(href('signin'), true);
                }}
              >
                Sign out
              </Button>
            </Setting>
          </section>
        )}
      </div>
    </Page>
  );
}
