// SPDX-License-Identifier: Apache-2.0
// The frame of every page: its row of controls, its scrolling body, the side panel, the line at the foot.
import type { ComponentChildren } from 'preact';
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { useLayer } from '../lib/keys.ts';
import { entryToRestore, pageKey } from '../lib/route.ts';
import { prefer, preferences } from '../lib/store.ts';
import { IconButton } from '../ui/button.tsx';
import { ServerState } from './server.tsx';
import { LinkMenu } from './linkmenu.tsx';
import { showsHelp } from './help.tsx';

export interface Crumb {
  readonly text: string;
  readonly href?: string;
}
/** Page ▸ thing, as the top line shows it. */
export const crumbs = signal<readonly Crumb[]>([]);
/** Why the page does not refresh by itself just now; '' when it does. */
export const held = signal('');

export interface PageProps {
  /** The crumbs; the last is the page's h1 and the window's title. */
  title: readonly (string | Crumb)[];
  /** Left part of the control row: filters, chips, tabs. */
  bar?: ComponentChildren;
  /** What is selected, in the side panel; undefined closes it. */
  panel?: ComponentChildren;
  panelTitle?: ComponentChildren;
  onPanelClose?: () => void;
  /** Left part of the foot: counts, what was scanned, completeness. */
  foot?: ComponentChildren;
  /** A reason not to refresh by itself: 'a span is selected'. */
  hold?: string | undefined;
  /** The body does its own scrolling and fills the window (map, trace). */
  fills?: boolean;
  class?: string;
  children: ComponentChildren;
}

export function Page({ title, bar, panel, panelTitle, onPanelClose, foot, hold = '', fills = false, class: more = '', children }: PageProps) {
  const names = title.map((t) => (typeof t === 'string' ? { text: t } : t));
  const flat = names.map((c) => c.text + '\0' + (c.href ?? '')).join('\0');
  useLayoutEffect(() => {
    crumbs.value = names;
    document.title = [...names.map((c) => c.text).reverse(), 'Spindle'].join(' · ');
  }, [flat]);
  useLayoutEffect(() => {
    held.value = hold;
    return () => {
      held.value = '';
    };
  }, [hold]);
  useRestore();
  return (
    <>
      <section class="bar" aria-label="Controls">
        <div class="bar-left">{bar}</div>
        <div class="bar-right">
          <LinkMenu />
          <IconButton icon="help" label="Keys" keys="?" onClick={() => (showsHelp.value = true)} />
        </div>
      </section>
      <div class="body">
        <main id="page" class={`${fills ? 'fills' : 'scroll'} ${more}`} tabIndex={-1}>
          {children}
        </main>
        {panel !== undefined && panel !== null && panel !== false && (
          <SidePanel title={panelTitle} onClose={onPanelClose}>
            {panel}
          </SidePanel>
        )}
      </div>
      <footer class="foot">
        <div class="foot-left">{foot}</div>
        <ServerState />
      </footer>
    </>
  );
}

/** Back brings scroll and focus with it, as soon as the page is tall enough again. */
function useRestore(): void {
  const key = pageKey.value;
  useEffect(() => {
    const { scroll, focus } = entryToRestore();
    const page = document.querySelector<HTMLElement>('#page');
    if (page === null) return;
    if (scroll === 0 && focus === '') {
      page.scrollTop = 0;
      return;
    }
    let frames = 90; // a second and a half at most
    let frame = requestAnimationFrame(function again() {
      if (page.scrollHeight - page.clientHeight >= scroll || --frames === 0) {
        page.scrollTop = scroll;
        if (focus !== '') document.getElementById(focus)?.focus({ preventScroll: true });
      } else frame = requestAnimationFrame(again);
    });
    return () => cancelAnimationFrame(frame);
  }, [key]);
}

function SidePanel({ title, onClose, children }: { title: ComponentChildren; onClose: (() => void) | undefined; children: ComponentChildren }) {
  const panel = useRef<HTMLElement>(null);
  useLayer(onClose !== undefined, () => onClose?.());
  const resize = (to_px: number) => prefer({ panel_px: Math.round(Math.min(720, Math.max(360, to_px))) });
  const drag = (e: PointerEvent) => {
    const handle = e.currentTarget as HTMLElement;
    handle.setPointerCapture(e.pointerId);
    const right = panel.current!.getBoundingClientRect().right;
    const move = (m: PointerEvent) => resize(right - m.clientX);
    handle.addEventListener('pointermove', move);
    handle.addEventListener('lostpointercapture', () => handle.removeEventListener('pointermove', move), { once: true });
  };
  const width = preferences.value.panel_px;
  return (
    <aside ref={panel} class="panel" aria-label="Selection" style={{ width: `${width}px` }}>
      <div
        class="panel-handle"
        role="separator"
        tabIndex={0}
        aria-orientation="vertical"
        aria-label="Width of the panel"
        aria-valuemin={360}
        aria-valuemax={720}
        aria-valuenow={width}
        onPointerDown={drag}
        onKeyDown={(e) => {
          const step = { ArrowLeft: 24, ArrowRight: -24 }[e.key];
          if (step === undefined) return;
          e.preventDefault();
          e.stopPropagation();
          resize(width + step);
        }}
      />
      <header>
        <h2>{title}</h2>
        {onClose !== undefined && <IconButton icon="close" label="Close the panel" keys="Esc" onClick={onClose} />}
      </header>
      <div class="panel-body scroll">{children}</div>
    </aside>
  );
}
