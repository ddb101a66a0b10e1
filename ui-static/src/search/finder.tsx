// SPDX-License-Identifier: Apache-2.0
// /id/HEX: what an ID names, and the way there.
import { useEffect } from 'preact/hooks';
import { useApi } from '../api/client.ts';
import { traceHref } from '../lib/links.ts';
import { href, openHref, params } from '../lib/route.ts';
import { meta } from '../shell/server.tsx';
import { Page } from '../shell/page.tsx';
import { Button } from '../ui/button.tsx';
import { Empty, Failure, Skeleton } from '../ui/states.tsx';
import { formatDuration } from '../lib/units.ts';

interface Resolved {
  readonly kind: 'trace' | 'span';
  readonly trace: string;
  readonly span?: string;
}

export default function Finder() {
  const { hex } = params('id');
  const id = hex.trim().toLowerCase();
  const isId = /^[0-9a-f]{1,32}$/.test(id);
  const found = useApi<Resolved>(isId ? '/resolve' : null, { id }, { still: true });
  useEffect(() => {
    if (found.data !== undefined) openHref(traceHref(found.data.trace, found.data.span ?? ''), true);
  }, [found.data]);
  const back = <a href={href('traces')}>Search traces</a>;
  return (
    <Page title={['Find an ID']}>
      {!isId ? (
        <Empty icon="search" title="This is not an ID." action={back}>
          A trace has 32 hexadecimal digits, a span 16.
        </Empty>
      ) : found.error?.status === 404 ? (
        <Empty
          icon="search"
          title="No trace or span has this ID."
          action={
            <>
              <Button icon="refresh" onClick={found.reload}>
                Look again
              </Button>
              {back}
            </>
          }
        >
          <p class="mono">{id}</p>
          <p>It may still be arriving, it was never sent here, or it has expired{keptFor()}.</p>
        </Empty>
      ) : found.error !== undefined ? (
        <Failure error={found.error} reload={found.reload} />
      ) : (
        <Skeleton rows={4} />
      )}
    </Page>
  );
}

function keptFor(): string {
  const kept_s = meta.value?.retention?.traces_s;
  return typeof kept_s === 'number' ? `: traces are kept for ${formatDuration(kept_s * 1e9)}` : '';
}
