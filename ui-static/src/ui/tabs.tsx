// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';

/** Tabs by the usual keys; the panel below has id "tabpanel". */
export function Tabs<const T extends string>({
  label,
  tabs,
  value,
  onChange,
}: {
  label: string;
  tabs: readonly (readonly [key: T, text: string, note?: ComponentChildren])[];
  value: T;
  onChange: (value: T) => void;
}) {
  const onKey = (e: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (step === undefined) return;
    const at = tabs.findIndex(([key]) => key === value);
    const next = tabs[(at + step + tabs.length) % tabs.length]!;
    onChange(next[0]);
    document.getElementById('tab-' + next[0])?.focus();
    e.preventDefault();
    e.stopPropagation();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={onKey}>
      {tabs.map(([key, text, note]) => (
        <button
          key={key}
          id={'tab-' + key}
          type="button"
          role="tab"
          aria-selected={key === value}
          aria-controls={key === value ? 'tabpanel' : undefined}
          tabIndex={key === value ? 0 : -1}
          onClick={() => onChange(key)}
        >
          {text}
          {note !== undefined && <span class="tab-note">{note}</span>}
        </button>
      ))}
    </div>
  );
}

export function TabPanel({ tab, children, class: more = '' }: { tab: string; children: ComponentChildren; class?: string }) {
  return (
    <div id="tabpanel" role="tabpanel" aria-labelledby={'tab-' + tab} class={more}>
      {children}
    </div>
  );
}
