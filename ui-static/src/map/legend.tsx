// SPDX-License-Identifier: Apache-2.0
// What the map's signs mean.
import type { ComponentChildren } from 'preact';
import { Popover } from '../ui/popup.tsx';

function Sign({ children, text }: { children: ComponentChildren; text: string }) {
  return (
    <li>
      <svg width="40" height="28" viewBox="0 0 40 28" aria-hidden="true">{children}</svg>
      <span>{text}</span>
    </li>
  );
}

export const Legend = () => (
  <Popover label="What the signs mean" icon="info" kind="quiet">
    <ul class="map-legend">
      <Sign text="service; larger is busier"><circle class="sign" cx="20" cy="14" r="9" /></Sign>
      <Sign text="group of services, with their number">
        <circle class="sign" cx="24" cy="11" r="9" />
        <circle class="sign" cx="20" cy="15" r="9" />
      </Sign>
      <Sign text="database"><rect class="sign" x="11" y="5" width="18" height="18" rx="4" /></Sign>
      <Sign text="cache"><path class="sign" d="M20 4l10 10-10 10-10-10z" /></Sign>
      <Sign text="queue or topic"><rect class="sign" x="9" y="8" width="22" height="12" rx="3" /></Sign>
      <Sign text="host outside"><circle class="sign" cx="20" cy="14" r="9" stroke-dasharray="4 3.5" /></Sign>
      <Sign text="callers outside"><rect class="sign" x="13" y="7" width="14" height="14" rx="2" /></Sign>
      <Sign text="red round it: share of calls that failed">
        <circle class="sign" cx="20" cy="14" r="7" />
        <path class="sign-err" d="M20 4a10 10 0 0 1 9.500 7" />
      </Sign>
      <Sign text="calls; wider is more, an arrow at the callee"><path class="sign-line" d="M2 14h28M30 10l7 4-7 4z" /></Sign>
      <Sign text="messages"><path class="sign-line dotted" d="M2 14h34" /></Sign>
      <Sign text="at least 1 % of the calls failed"><path class="sign-err thin" d="M2 14h36" /></Sign>
    </ul>
  </Popover>
);
