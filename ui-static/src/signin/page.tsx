// SPDX-License-Identifier: Apache-2.0
// A token is asked for when the server wants one.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { ApiError, get, setToken } from '../api/client.ts';
import { basePath, href, openHref, params } from '../lib/route.ts';
import { askMeta } from '../shell/server.tsx';
import { Button } from '../ui/button.tsx';
import { Mark } from '../ui/icons.tsx';

/** Where to go on: an address of this page, or the map. */
export function afterSignIn(then: string, base: string, origin: string): string | undefined {
  if (!then.startsWith('/') || then.startsWith('//') || then.includes('\\')) return undefined;
  try {
    const url = new URL(then, origin);
    return url.origin === origin && url.pathname.startsWith(base) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

export default function SignInPage() {
  const token = useSignal('');
  const keep = useSignal(false);
  const failure = useSignal('');
  const isBusy = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  const { then } = params('signin');
  useEffect(() => {
    document.title = 'Sign in · Spindle';
    field.current?.focus();
  }, []);
  const submit = async (e: Event) => {
    e.preventDefault();
    const value = token.value.trim();
    if (value === '') {
      failure.value = 'Enter a token.';
      field.current?.focus();
      return;
    }
    if (/[^\x21-\x7e]/.test(value)) {
      failure.value = 'A token has no blanks and only ASCII characters.';
      return;
    }
    isBusy.value = true;
    failure.value = '';
    setToken(value, keep.value);
    try {
      await get('/meta');
      await askMeta();
      openHref(afterSignIn(then, basePath(), location.origin) ?? href('map'), true);
    } catch (error) {
      setToken('', false);
      const status = error instanceof ApiError ? error.status : 0;
      failure.value =
        status === 401
          ? 'The server does not know this token.'
          : status === 403
            ? 'This token may send telemetry, but not read it. A token of scope “read” is needed.'
            : error instanceof Error
              ? error.message
              : 'The server cannot be reached.';
      field.current?.focus();
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <main id="page" class="signin" tabIndex={-1}>
      <form class="card signin-card" onSubmit={(e) => void submit(e)}>
        <div class="signin-brand">
          <Mark size={32} />
          <h1 class="page-title">Sign in to Spindle</h1>
        </div>
        <p class="quiet-text">This server asks for a token. Whoever runs it has one in the file of --auth-token-file.</p>
        <label class="signin-field">
          <span>Token of scope “read”</span>
          <input
            ref={field}
            id="token"
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            value={token.value}
            aria-invalid={failure.value !== ''}
            aria-describedby="signin-failure"
            onInput={(e) => (token.value = e.currentTarget.value)}
          />
        </label>
        <p id="signin-failure" class="err-text signin-failure" role="alert">
          {failure.value}
        </p>
        <label class="check">
          <input type="checkbox" checked={keep.value} onChange={(e) => (keep.value = e.currentTarget.checked)} />
          Stay signed in on this computer
        </label>
        <Button kind="primary" type="submit" disabled={isBusy.value}>
          Sign in
        </Button>
      </form>
    </main>
  );
}
