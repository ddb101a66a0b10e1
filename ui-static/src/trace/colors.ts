// SPDX-License-Identifier: Apache-2.0
// Which of the 16 service colours (8 hues, solid or striped) each service of one trace has. The server's index comes
// first, so that a service looks the same everywhere; a clash inside the trace takes the next free slot. The name
// always stands beside the colour.

export const SLOTS = 16;

export function colorSlots(services: readonly { color: number }[]): number[] {
  const used = new Set<number>();
  return services.map(({ color }) => {
    let slot = ((color % SLOTS) + SLOTS) % SLOTS;
    if (used.size < SLOTS) while (used.has(slot)) slot = (slot + 1) % SLOTS;
    used.add(slot);
    return slot;
  });
}

export const hueOf = (slot: number): number => slot % 8;
export const isStriped = (slot: number): boolean => slot >= 8;
export const colorVar = (slot: number): string => `var(--s${hueOf(slot)})`;
