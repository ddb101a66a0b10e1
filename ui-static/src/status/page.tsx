// SPDX-License-Identifier: Apache-2.0
import { Page } from '../shell/page.tsx';
import { Skeleton } from '../ui/states.tsx';

export default function StatusPage() {
  return (
    <Page title={['Status']}>
      <Skeleton />
    </Page>
  );
}
