// SPDX-License-Identifier: Apache-2.0
// What opens above the page: a menu, a popover, a dialog. Escape closes the top one; focus goes back where it was.
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect, useId, useLayoutEffect, useRef } from 'preact/hooks';
import { useLayer } from '../lib/keys.ts';
import { IconButton } from './button.tsx';
import { Icon, type IconName } from './icons.tsx';

/** A button with a panel below it. `children` may be a function that is given a way to close it. */
export function Popover({
  label,
  text,
  icon,
  title,
  align = 'start',
  kind = 'plain',
  role = 'dialog',
  children,
}: {
  label: string; // names the panel, and the button where that shows no text
  text?: ComponentChildren;
  icon?: IconName;
  title?: string | undefined;
  align?: 'start' | 'end';
  kind?: 'plain' | 'quiet';
  role?: 'dialog' | 'menu';
  children: ComponentChildren | ((close: () => void) => ComponentChildren);
}) {
  const isOpen = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const id = useId();
  const close = () => {
    if (!isOpen.value) return;
    isOpen.value = false;
    if (root.current?.contains(document.activeElement)) button.current?.focus();
  };
  useLayer(isOpen.value, close);
  useEffect(() => {
    if (!isOpen.value) return;
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) close();
    };
    document.addEventListener('pointerdown', outside);
    document.addEventListener('focusin', outside);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('focusin', outside);
    };
  }, [isOpen.value]);
  useLayoutEffect(() => {
    if (!isOpen.value || panel.current === null) return;
    // Inside the window, whatever side it was asked for.
    const box = panel.current.getBoundingClientRect();
    if (box.right > innerWidth - 8) panel.current.classList.add('flip');
    const first = panel.current.querySelector<HTMLElement>('[role^="menuitem"], input, select, button, a[href]');
    first?.focus();
  }, [isOpen.value]);
  return (
    <div class="popover-root" ref={root}>
      <button
        ref={button}
        type="button"
        class={`button ${kind} ${text === undefined ? 'icon-only' : ''}`}
        aria-haspopup={role}
        aria-expanded={isOpen.value}
        aria-controls={isOpen.value ? id : undefined}
        aria-label={text === undefined ? label : undefined}
        title={title ?? label}
        onClick={() => (isOpen.value ? close() : (isOpen.value = true))}
      >
        {icon !== undefined && <Icon name={icon} />}
        {text !== undefined && <span>{text}</span>}
        {text !== undefined && <Icon name="down" size={12} />}
      </button>
      {isOpen.value && (
        <div id={id} ref={panel} class={`popover ${align}`} role={role} aria-label={label}>
          {typeof children === 'function' ? children(close) : children}
        </div>
      )}
    </div>
  );
}

export interface MenuItem {
  readonly label: string;
  readonly icon?: IconName;
  readonly hint?: string;
  readonly isOn?: boolean; // a choice, with a tick
  readonly href?: string;
  readonly download?: string;
  readonly run?: () => void;
}

/** A button with a list of actions. */
export function Menu({
  items,
  ...rest
}: {
  label: string;
  items: readonly (MenuItem | '-')[];
  text?: ComponentChildren;
  icon?: IconName;
  title?: string;
  align?: 'start' | 'end';
  kind?: 'plain' | 'quiet';
}) {
  return (
    <Popover role="menu" {...rest}>
      {(close: () => void) => <MenuList items={items} close={close} />}
    </Popover>
  );
}

function MenuList({ items, close }: { items: readonly (MenuItem | '-')[]; close: () => void }) {
  const onKey = (e: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -1e6, End: 1e6 }[e.key];
    if (step === undefined) return;
    const all = [...(e.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('[role^="menuitem"]')];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = Math.abs(step) === 1 ? (at + step + all.length) % all.length : step < 0 ? 0 : all.length - 1;
    all[to]?.focus();
    e.preventDefault();
    e.stopPropagation();
  };
  const pick = (item: MenuItem) => {
    close();
    item.run?.();
  };
  return (
    <div class="menu" role="presentation" onKeyDown={onKey}>
      {items.map((item, i) => {
        if (item === '-') return <hr key={i} role="separator" />;
        const inside = (
          <>
            <span class="menu-icon">
              {item.isOn === true ? <Icon name="check" size={14} /> : item.icon !== undefined && <Icon name={item.icon} size={14} />}
            </span>
            <span class="menu-label">{item.label}</span>
            {item.hint !== undefined && <kbd>{item.hint}</kbd>}
          </>
        );
        const role = item.isOn === undefined ? 'menuitem' : 'menuitemradio';
        return item.href !== undefined ? (
          <a key={i} role={role} tabIndex={-1} href={item.href} download={item.download} onClick={() => pick(item)}>
            {inside}
          </a>
        ) : (
          <button key={i} type="button" role={role} tabIndex={-1} aria-checked={item.isOn} onClick={() => pick(item)}>
            {inside}
          </button>
        );
      })}
    </div>
  );
}

/** A modal window: the page behind it is inert, focus stays inside, Escape closes. */
export function Dialog({
  title,
  onClose,
  children,
  wide = false,
  bare = false,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
  bare?: boolean; // without a title bar; the title still names it
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayer(true, onClose);
  useEffect(() => {
    const d = dialog.current!;
    const before = document.activeElement as HTMLElement | null;
    d.showModal();
    return () => {
      d.close();
      before?.focus?.();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog ${wide ? 'wide' : ''} ${bare ? 'bare' : ''}`}
      aria-label={title}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onPointerDown={(e) => {
        if (e.target === dialog.current) onClose();
      }}
    >
      <div class="dialog-inside">
        {!bare && (
          <header>
            <h2>{title}</h2>
            <IconButton icon="close" label="Close" onClick={onClose} />
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}
