// SPDX-License-Identifier: Apache-2.0
// ?: the keys that work here, now.
import { signal } from '@preact/signals';
import { keyGroups } from '../lib/keys.ts';
import { prefer, preferences } from '../lib/store.ts';
import { Dialog } from '../ui/popup.tsx';
import { Kbd } from '../ui/text.tsx';

export const showsHelp = signal(false);

const listKeys = [
  ['j', 'Next row'],
  ['k', 'Row before'],
  ['Enter', 'Open'],
  ['o', 'Open in a new tab'],
] as const;

export function Help() {
  if (!showsHelp.value) return null;
  const groups = new Map<string, { keys: string; label: string }[]>();
  for (const group of keyGroups.value)
    groups.set(group.title, [...(groups.get(group.title) ?? []), ...group.keys.filter((k) => k.label !== '')]);
  groups.set('Lists', listKeys.map(([keys, label]) => ({ keys, label })));
  return (
    <Dialog title="Keys" wide onClose={() => (showsHelp.value = false)}>
      <div class="help">
        {[...groups].map(([title, keys]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map((k) => (
                <div key={k.keys + k.label}>
                  <dt>
                    <Kbd keys={k.keys} />
                  </dt>
                  <dd>{k.label}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label class="check">
        <input type="checkbox" checked={preferences.value.keys} onChange={(e) => prefer({ keys: e.currentTarget.checked })} />
        Single-key shortcuts
      </label>
    </Dialog>
  );
}
