// SPDX-License-Identifier: Apache-2.0
// Small pieces of text that look the same everywhere.
import { formatAge, formatClock, formatMoment, momentTitle, zone, zoneAbbreviation } from '../lib/time.ts';
import { formatPercent } from '../lib/units.ts';
import { serviceHref } from '../lib/links.ts';

/** A point in time; the hover has both zones and the age. A list's zone stands at the head of the page, a single time's beside it. */
export function Time({ ns, digits = 3, as = 'moment', withZone = false }: { ns: bigint | string; digits?: number; as?: 'moment' | 'clock' | 'age'; withZone?: boolean }) {
  const text = as === 'age' ? formatAge(ns) : as === 'clock' ? formatClock(ns, digits) : formatMoment(ns, digits);
  return (
    <time class="mono" title={momentTitle(ns)}>
      {text}
      {withZone && <span class="dim"> {zoneAbbreviation(zone.value, BigInt(ns))}</span>}
    </time>
  );
}

/** The class that colours a service: "svc s3", striped from the ninth on. `color` is the server's index. */
export const serviceClass = (color: number): string => `svc s${((color % 8) + 8) % 8}${(color >> 3) & 1 ? ' striped' : ''}`;

declare const DEFECT: string; // '' but in the builds of negative controls
const asText = (name: string) => (DEFECT === 'html' ? { dangerouslySetInnerHTML: { __html: name } } : { children: name });

/** A service's name beside its colour. */
export function ServiceName({ name, color, link = false }: { name: string; color: number; link?: boolean }) {
  const inside = (
    <>
      <span class={serviceClass(color)} aria-hidden="true" />
      <span class="cut" {...asText(name === '' ? '(no name)' : name)} />
    </>
  );
  return link ? (
    <a class="service-name" href={serviceHref(name)} title={name}>
      {inside}
    </a>
  ) : (
    <span class="service-name" title={name}>
      {inside}
    </span>
  );
}

/** A share of errors: quiet at zero, red from 1 %. */
export const ErrorShare = ({ share }: { share: number | null | undefined }) => (
  <span class={share === null || share === undefined || share === 0 ? 'dim' : share >= 0.01 ? 'err-text' : ''}>
    {formatPercent(share)}
  </span>
);

export const Kbd = ({ keys }: { keys: string }) => (
  <span class="keys">
    {keys.split(' ').map((k, i) => (
      <kbd key={i}>{{ ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc' }[k] ?? k}</kbd>
    ))}
  </span>
);
