// SPDX-License-Identifier: Apache-2.0
import { Page } from '../shell/page.tsx';
import { Skeleton } from '../ui/states.tsx';

export default function ServicesPage() {
  return (
    <Page title={['Services']}>
      <Skeleton />
    </Page>
  );
}
