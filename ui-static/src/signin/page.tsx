// SPDX-License-Identifier: Apache-2.0
import { Page } from '../shell/page.tsx';
import { Skeleton } from '../ui/states.tsx';

export default function SignInPage() {
  return (
    <Page title={['Sign in']}>
      <Skeleton />
    </Page>
  );
}
