// SPDX-License-Identifier: Apache-2.0
// Before the first span: where to send it. The page goes on by itself when it has arrived.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { refresh } from '../lib/time.ts';
import { hasData, meta } from '../shell/server.tsx';
import { Copy } from '../ui/button.tsx';
import { Mark } from '../ui/icons.tsx';
import { TabPanel, Tabs } from '../ui/tabs.tsx';

type Way = 'sdk' | 'collector' | 'demo';

const hostOf = (url: string): string => url.replace(/^https?:\/\//, '').replace(/\/$/, '');

/** What to set, as lines of a shell or of the Collector's file. */
export function instructions(way: Way, http: string | undefined, grpc: string | undefined, auth: boolean): string {
  if (way === 'demo') return `spindle demo --endpoint ${hostOf(grpc ?? http ?? '127.0.0.1:4317')}${auth ? ' --token TOKEN' : ''}\n`;
  if (way === 'collector') {
    const url = grpc ?? http ?? '';
    const kind = grpc === undefined ? 'otlphttp' : 'otlp';
    const header = auth ? `    headers:\n      authorization: Bearer TOKEN\n` : '';
    const insecure = url.startsWith('http:') && kind === 'otlp' ? '    tls:\n      insecure: true\n' : '';
    return (
      `exporters:\n  ${kind}/spindle:\n    endpoint: ${kind === 'otlp' ? hostOf(url) : url}\n${insecure}${header}\n` +
      `service:\n  pipelines:\n    traces:\n      exporters: [${kind}/spindle]\n    logs:\n      exporters: [${kind}/spindle]\n`
    );
  }
  const lines =
    http === undefined
      ? ['OTEL_EXPORTER_OTLP_PROTOCOL=grpc', `OTEL_EXPORTER_OTLP_ENDPOINT=${grpc ?? ''}`]
      : ['OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf', `OTEL_EXPORTER_OTLP_ENDPOINT=${http}`];
  lines.push('OTEL_SERVICE_NAME=my-service', 'OTEL_TRACES_EXPORTER=otlp', 'OTEL_LOGS_EXPORTER=otlp', 'OTEL_METRICS_EXPORTER=none');
  if (auth) lines.push('OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer TOKEN"');
  return lines.map((l) => `export ${l}\n`).join('');
}

export function FirstRun() {
  const way = useSignal<Way>('sdk');
  const arrived = hasData.value === true;
  useEffect(() => {
    if (arrived) refresh();
  }, [arrived]);
  const endpoints = meta.value?.endpoints ?? [];
  const urlOf = (name: string) => endpoints.find((e) => e.name === name)?.url;
  const http = urlOf('otlp-http');
  const grpc = urlOf('otlp-grpc');
  const text = instructions(way.value, http, grpc, meta.value?.auth === true);
  return (
    <div class="scroll firstrun">
      <div class="firstrun-inside">
        <div class="firstrun-head">
          <Mark size={32} />
          <div>
            <h2 class="page-title">Send the first span</h2>
            <p class="quiet-text">The service map appears here by itself as soon as one arrives.</p>
          </div>
        </div>
        <div class="card">
          {endpoints.some((e) => e.name !== 'http') && (
            <dl class="endpoints">
              {(
                [
                  ['OTLP over HTTP', http],
                  ['OTLP over gRPC', grpc],
                ] as const
              ).map(
                ([name, url]) =>
                  url !== undefined && (
                    <div key={name}>
                      <dt>{name}</dt>
                      <dd>
                        <span class="mono">{url}</span>
                        <Copy text={url} label={`Copy the endpoint of ${name}`} />
                      </dd>
                    </div>
                  ),
              )}
            </dl>
          )}
          <div class="firstrun-tabs">
            <Tabs
              label="Ways to send"
              value={way.value}
              tabs={[
                ['sdk', 'An SDK'],
                ['collector', 'The Collector'],
                ['demo', 'A demo shop'],
              ]}
              onChange={(v) => (way.value = v)}
            />
            <Copy text={text} label="Copy all of it" />
          </div>
          <TabPanel tab={way.value} class="firstrun-text">
            <pre>{text}</pre>
          </TabPanel>
        </div>
        <p class="waiting" role="status">
          <span class="pulse" aria-hidden="true" /> Waiting for the first span
        </p>
      </div>
    </div>
  );
}
