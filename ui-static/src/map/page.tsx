// SPDX-License-Identifier: Apache-2.0
import { Page } from '../shell/page.tsx';
import { Skeleton } from '../ui/states.tsx';

export default function MapPage() {
  return (
    <Page title={['Map']}>
      <Skeleton />
    </Page>
  );
}
