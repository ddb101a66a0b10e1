// SPDX-License-Identifier: Apache-2.0
import { copyLink } from '../lib/copy.ts';
import { Menu } from '../ui/popup.tsx';

export const LinkMenu = () => (
  <Menu
    label="Copy link"
    icon="link"
    text="Link"
    kind="quiet"
    align="end"
    items={[
      { label: 'Copy link to what is shown now', icon: 'clock', hint: 'c l', run: () => void copyLink(false) },
      { label: 'Copy live link (range moves with the clock)', icon: 'refresh', run: () => void copyLink(true) },
    ]}
  />
);
