// SPDX-License-Identifier: Apache-2.0
// Workers by name. The page's only Trusted Types policy lets through nothing but our own workers' addresses.

declare const WORKERS: Record<string, string>; // name to file, filled in by build.mjs

interface Policy {
  createScriptURL(url: string): string;
}
interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): Policy;
}

const urlOf = (name: string): string => {
  const file = Object.hasOwn(WORKERS, name) ? WORKERS[name] : undefined;
  if (file === undefined) throw new Error(`no worker ${name}`);
  return new URL(file, import.meta.url).href;
};

const trusted = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
const policy: Policy = trusted?.createPolicy('spindle', { createScriptURL: urlOf }) ?? { createScriptURL: urlOf };

/** src/.../NAME.worker.ts, started. */
export const startWorker = (name: string): Worker => new Worker(policy.createScriptURL(name), { type: 'module', name });
