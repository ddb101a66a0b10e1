// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { copyText } from '../lib/copy.ts';
import { Icon, type IconName } from './icons.tsx';

interface ButtonProps {
  onClick?: ((event: MouseEvent) => void) | undefined;
  kind?: 'plain' | 'primary' | 'quiet';
  icon?: IconName;
  title?: string | undefined;
  pressed?: boolean | undefined;
  disabled?: boolean | undefined;
  type?: 'button' | 'submit';
  id?: string;
  class?: string;
  children?: ComponentChildren;
}

export function Button({ kind = 'plain', icon, pressed, type = 'button', children, class: more = '', ...rest }: ButtonProps) {
  return (
    <button type={type} class={`button ${kind} ${more}`} aria-pressed={pressed} {...rest}>
      {icon !== undefined && <Icon name={icon} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

/** A square button; the label names it for those who do not see the icon, and on hover. */
export function IconButton({
  icon,
  label,
  ...rest
}: { icon: IconName; label: string; keys?: string } & Omit<ButtonProps, 'title' | 'children' | 'icon'>) {
  const { kind = 'quiet', pressed, type = 'button', class: more = '', keys, ...others } = rest;
  return (
    <button
      type={type}
      class={`button icon-only ${kind} ${more}`}
      aria-label={label}
      aria-pressed={pressed}
      title={keys === undefined ? label : `${label}  ${keys}`}
      {...others}
    >
      <Icon name={icon} />
    </button>
  );
}

/** Copies a text and shows that it did. */
export function Copy({ text, label = 'Copy' }: { text: string | (() => string); label?: string }) {
  const done = useSignal(false);
  const copy = async (event: MouseEvent) => {
    event.stopPropagation();
    done.value = await copyText(typeof text === 'string' ? text : text());
    setTimeout(() => (done.value = false), 1500);
  };
  return (
    <button type="button" class="button icon-only quiet copy" aria-label={label} title={label} onClick={copy}>
      <Icon name={done.value ? 'check' : 'copy'} size={14} />
    </button>
  );
}

/** A few choices side by side, one of them in force. */
export function Choice<const T extends string>({
  label,
  options,
  value,
  onChange,
}: {
  label: string;
  options: readonly (readonly [T, string])[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <div class="choice" role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button key={key} type="button" aria-pressed={key === value} onClick={() => onChange(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A filter in force. */
export function Chip({ children, onRemove, label }: { children: ComponentChildren; onRemove?: () => void; label: string }) {
  return (
    <span class="chip">
      <span class="chip-text">{children}</span>
      {onRemove !== undefined && (
        <button type="button" aria-label={`Remove ${label}`} title={`Remove ${label}`} onClick={onRemove}>
          <Icon name="close" size={12} />
        </button>
      )}
    </span>
  );
}

/** A native list of choices. */
export function Select<const T extends string>({
  label,
  options,
  value,
  onChange,
  showLabel = false,
}: {
  label: string;
  options: readonly (readonly [T, string])[];
  value: T;
  onChange: (value: T) => void;
  showLabel?: boolean;
}) {
  return (
    <label class="select">
      <span class={showLabel ? 'select-label' : 'visually-hidden'}>{label}</span>
      <select value={value} onChange={(e) => onChange(e.currentTarget.value as T)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
      <Icon name="down" size={12} />
    </label>
  );
}

/** A field that finds. Typing calls onInput at once; the URL debounces. */
export function FindField({
  label,
  value,
  onInput,
  id,
  onEnter,
}: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  id?: string;
  onEnter?: (event: KeyboardEvent) => void;
}) {
  return (
    <label class="find">
      <span class="visually-hidden">{label}</span>
      <Icon name="search" size={14} />
      <input
        id={id}
        type="search"
        value={value}
        placeholder={label}
        spellcheck={false}
        autocomplete="off"
        onInput={(e) => onInput(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === 'Enter') onEnter?.(e);
          if (e.key === 'Escape') {
            if (e.currentTarget.value !== '') onInput('');
            else e.currentTarget.blur();
            e.stopPropagation();
            e.preventDefault();
          }
        }}
      />
    </label>
  );
}
