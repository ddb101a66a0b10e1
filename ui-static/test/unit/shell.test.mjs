// SPDX-License-Identifier: Apache-2.0
// Links, keys, the palette, events of a stream, preferences, sign-in, rates.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { load } from '../load.mjs';

const m = await load('lib/links.ts', 'lib/keys.ts', 'api/sse.ts', 'lib/store.ts', 'shell/palette.tsx', 'signin/page.tsx', 'status/rates.ts', 'status/firstrun.tsx', 'api/client.ts');

test('texts are quoted for a filter, whatever they hold', () => {
  for (const s of ['', 'a', '"', '\\', '\\"', 'a\nb', '\u0000', '\u2028', '`', '{ }', '日本'])
    assert.equal(JSON.parse(m.quote(s)), s);
  assert.equal(m.attributeName('resource', 'service.name'), 'resource.service.name');
  assert.equal(m.attributeName('span', 'odd key'), 'span."odd key"');
  assert.equal(m.attributeName('span', 'a"b'), 'span."a\\"b"');
  assert.equal(m.spanFilter({ service: 'a"b', isError: true, minDuration_ns: 2.5e8 }), '{ resource.service.name = "a\\"b" && status = error && duration >= 250000000ns }');
  assert.equal(m.spanFilter({}), '');
});

test('only web addresses become links', () => {
  assert.equal(m.webLink('https://example.org/a'), 'https://example.org/a');
  for (const s of ['javascript:alert(1)', ' https://x', 'data:text/html,x', 'http//x', 'vbscript:x', 'HTTPS://', 'https://' + 'a'.repeat(3000), 'java\nscript:x', '//x.org', 'file:///etc/passwd'])
    assert.equal(m.webLink(s), undefined, s);
});

test('keys have one name each', () => {
  const name = (key, more = {}) => m.keyName({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  assert.equal(name('k', { ctrlKey: true }), 'Ctrl K');
  assert.equal(name('k', { metaKey: true }), 'Ctrl K');
  assert.equal(name('D', { shiftKey: true }), 'Shift D');
  assert.equal(name('?', { shiftKey: true }), '?');
  assert.equal(name('ArrowLeft', { shiftKey: true }), 'Shift ArrowLeft');
  assert.equal(name(' '), 'Space');
  assert.equal(name('f'), 'f');
});

test('IDs are found in what is pasted', () => {
  const trace = '8f2c77aa00112233445566778899aabb', span = '8f2c77aa00112233';
  for (const s of [trace, trace.toUpperCase(), ` ${trace}\n`, `00-${trace}-${span}-01`, `http://x/trace/${trace}?span=1`, '8f2c77aa-0011-2233-4455-66778899aabb', '0x' + trace])
    assert.equal(m.idIn(s), trace, s);
  assert.equal(m.idIn(span), span);
  for (const s of ['', 'checkout', 'cafe', '{ name = "x" }', 'deadbeefdeadbeefdeadbeef']) assert.equal(m.idIn(s), undefined, s);
});

test('the palette puts beginnings first', () => {
  assert.ok(m.fit('checkout', 'check') > m.fit('re-checkout', 'check'));
  assert.ok(m.fit('re-checkout', 'check') > m.fit('recheckout', 'check'));
  assert.equal(m.fit('checkout', 'cart'), 0);
  assert.ok(m.fit('POST /pay checkout', 'pay check') > 0);
});

test('a stream of events is read the same however it is cut', () => {
  const text = ': ready\n\nid: 1\nevent: row\ndata: {"a":1}\n\nevent: skipped\r\ndata: {"n":2}\r\n\r\ndata: one\ndata: two\n\nid: 9\n\n';
  const whole = new m.SseParser().feed(text);
  assert.deepEqual(whole, [
    { event: 'row', data: '{"a":1}', id: '1' },
    { event: 'skipped', data: '{"n":2}', id: '1' },
    { event: 'message', data: 'one\ntwo', id: '1' },
  ]);
  for (let size = 1; size < 12; size++) {
    const parser = new m.SseParser();
    const out = [];
    for (let at = 0; at < text.length; at += size) out.push(...parser.feed(text.slice(at, at + size)));
    assert.deepEqual(out, whole, `pieces of ${size}`);
    assert.equal(parser.id, '9');
  }
});

test('preferences are read field by field', () => {
  const initial = m.readPreferences(null);
  for (const bad of ['', '{', '[]', 'null', '5', '{"theme":5}', '{"theme":"pink"}', '{"pins":[1]}', '{"__proto__":{"theme":"dark"}}'])
    assert.deepEqual(m.readPreferences(bad), initial, bad);
  assert.equal(m.readPreferences('{"theme":"dark","panel_px":9999}').theme, 'dark');
  assert.equal(m.readPreferences('{"panel_px":9999}').panel_px, 720);
});

test('sign-in leads to this page only', () => {
  const to = (then) => m.afterSignIn(then, '/spindle/', 'http://h:1');
  assert.equal(to('/spindle/trace/1?span=2'), 'http://h:1/spindle/trace/1?span=2');
  for (const bad of ['', '//evil.org/spindle/', '/\\evil.org', 'http://evil.org/spindle/', 'javascript:alert(1)', '/other/', '\\\\evil.org'])
    assert.equal(to(bad), undefined, bad);
});

test('rates come from differences, and begin anew with the server', () => {
  const at = (s, spans, started = 'a') => ({ at: BigInt(s) * 1000000000n, started, totals: { spans } });
  let samples = m.withSample([], at(0, 100));
  assert.equal(m.rateOf(samples, 'spans'), undefined);
  samples = m.withSample(samples, at(10, 1100));
  assert.equal(m.rateOf(samples, 'spans'), 100);
  assert.equal(m.withSample(samples, at(10, 5)).length, 2);
  samples = m.withSample(samples, at(100, 2000));
  assert.equal(samples.length, 1);
  assert.equal(m.withSample(samples, at(110, 5, 'b')).length, 1);
});

test('what to set, for each way to send', () => {
  const [http, grpc] = ['http://127.0.0.1:4318', 'http://127.0.0.1:4317'];
  assert.match(m.instructions('sdk', http, grpc, false), /^export OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf\nexport OTEL_EXPORTER_OTLP_ENDPOINT=http:\/\/127\.0\.0\.1:4318\n/);
  assert.match(m.instructions('sdk', undefined, grpc, true), /PROTOCOL=grpc[^]*authorization=Bearer TOKEN/);
  assert.match(m.instructions('collector', http, grpc, false), /endpoint: 127\.0\.0\.1:4317\n {4}tls:\n {6}insecure: true/);
  assert.match(m.instructions('collector', 'https://h:4318', undefined, true), /otlphttp\/spindle:\n {4}endpoint: https:\/\/h:4318\n {4}headers:/);
  assert.equal(m.instructions('demo', http, grpc, true), 'spindle demo --endpoint 127.0.0.1:4317 --token TOKEN\n');
});

test('empty parameters are left out of requests', () => {
  assert.equal(m.apiUrl('/traces', { q: '', env: undefined, a: null, b: false, c: true, n: 0, l: ['x', 'y'] }), '/api/spindle/v1/traces?c=1&n=0&l=x&l=y');
});

/** A server that takes the connection and says nothing; with `head`, it begins its answer. */
async function withHungServer(head, run) {
  const server = createServer((_, res) => {
    if (head) res.writeHead(200, { 'Content-Type': 'application/json' }).write('{"a":');
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  try {
    await run(`http://127.0.0.1:${server.address().port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('a server that hangs is said to, before and within its answer', async () => {
  for (const head of [false, true])
    await withHungServer(head, async (url) => {
      const asked = m.sendForJson(url, {}, 150);
      assert.ok(m.isAsking());
      await assert.rejects(asked, (e) => e instanceof m.ApiError && e.code === 'silent' && e.message === 'The server does not answer.');
      assert.ok(!m.isAsking());
    });
  await withHungServer(false, async (url) => {
    const stop = new AbortController();
    const asked = m.sendForJson(url, { signal: stop.signal });
    stop.abort();
    await assert.rejects(asked, (e) => e.name === 'AbortError', 'what the page itself takes back is no failure');
  });
});

test('the page says how long it has waited, from three seconds on', async () => {
  await withHungServer(false, async (url) => {
    const asked = m.sendForJson(url, {}, 3700).catch(() => undefined);
    await new Promise((later) => setTimeout(later, 2400));
    assert.equal(m.waiting_s.value, 0);
    await new Promise((later) => setTimeout(later, 1200));
    assert.equal(m.waiting_s.value, 3);
    await asked;
    assert.equal(m.waiting_s.value, 0);
  });
});
