// SPDX-License-Identifier: Apache-2.0
// Short messages at the window's foot. They are announced politely and go by themselves.
import { signal } from '@preact/signals';

export interface Notice {
  readonly id: number;
  readonly text: string;
}
let next = 1;
export const notices = signal<readonly Notice[]>([]);

export function notify(text: string, ms = 5000): void {
  const notice = { id: next++, text };
  notices.value = [...notices.value.slice(-3), notice];
  setTimeout(() => dismiss(notice.id), ms);
}
export const dismiss = (id: number): void => {
  notices.value = notices.value.filter((n) => n.id !== id);
};
