// SPDX-License-Identifier: Apache-2.0
// Keys: each component offers its own while it is on the page; ? lists what is offered.
import { signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { preferences } from './store.ts';

export interface Key {
  /** "f", "Shift D", "Ctrl K", "ArrowLeft", or a sequence: "g m". */
  readonly keys: string;
  readonly label: string;
  readonly run: (event: KeyboardEvent) => void;
  /** Works in inputs and with single keys switched off; for Escape and Ctrl combinations. */
  readonly always?: boolean;
  /** Not now: the next one that fits has its turn. */
  readonly when?: () => boolean;
}
export interface KeyGroup {
  readonly title: string;
  readonly keys: readonly Key[];
}

/** The last group offered comes first. */
export const keyGroups = signal<readonly KeyGroup[]>([]);

export function useKeys(title: string, keys: readonly Key[], deps: readonly unknown[] = []): void {
  useEffect(() => {
    const group = { title, keys };
    keyGroups.value = [group, ...keyGroups.peek()];
    return () => {
      keyGroups.value = keyGroups.peek().filter((g) => g !== group);
    };
  }, [title, ...deps]);
}

const SEQUENCE_MS = 1200;
let prefix = '';
let prefixTimer: ReturnType<typeof setTimeout> | undefined;

/** "Ctrl K", "Shift D", "?", "ArrowLeft". */
export function keyName(e: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>): string {
  const isLetter = /^[a-z]$/i.test(e.key);
  let name = e.key === ' ' ? 'Space' : isLetter ? (e.shiftKey || e.ctrlKey || e.metaKey ? e.key.toUpperCase() : e.key.toLowerCase()) : e.key;
  if (e.shiftKey && (isLetter || e.key.length > 1)) name = 'Shift ' + name;
  if (e.altKey) name = 'Alt ' + name;
  if (e.ctrlKey || e.metaKey) name = 'Ctrl ' + name;
  return name;
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && !['checkbox', 'radio', 'button', 'range'].includes(target.type)));

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || ['Shift', 'Control', 'Alt', 'Meta'].includes(event.key)) return;
  const name = keyName(event);
  const wanted = prefix === '' ? name : prefix + ' ' + name;
  prefix = '';
  clearTimeout(prefixTimer);
  const typing = isTyping(event.target);
  let isPrefix = false;
  for (const group of keyGroups.value)
    for (const key of group.keys) {
      if (key.always !== true && (typing || !preferences.value.keys)) continue;
      if (key.keys === wanted && (key.when === undefined || key.when())) {
        event.preventDefault();
        key.run(event);
        return;
      }
      isPrefix ||= key.keys.startsWith(wanted + ' ') && /^[a-z]$/.test(wanted);
    }
  if (isPrefix) {
    prefix = wanted;
    prefixTimer = setTimeout(() => (prefix = ''), SEQUENCE_MS);
  }
}

export const startKeys = (): void => document.addEventListener('keydown', onKey);

// ---- layers: Escape closes the top one only

const layers: (() => void)[] = [];
export const hasLayers = (): boolean => layers.length > 0;
/** While `isOpen`, Escape calls `close`; the layer opened last goes first. */
export function useLayer(isOpen: boolean, close: () => void): void {
  const latest = useRef(close);
  latest.current = close;
  useEffect(() => {
    if (!isOpen) return;
    const layer = () => latest.current();
    layers.push(layer);
    return () => {
      layers.splice(layers.lastIndexOf(layer), 1);
    };
  }, [isOpen]);
}
export function closeTopLayer(): void {
  layers.at(-1)?.();
}
