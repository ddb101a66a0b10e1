// SPDX-License-Identifier: Apache-2.0
// What a page costs, on a machine that does other things too. Judged is the processor time of the threads at work, in
// units of a piece of work that the same browser does in the same run: neighbours do not change it, and a slower machine
// is allowed what it is slower by. A clock sees waiting as well: it is told, and judged after what the neighbours took.
import { readdirSync, readFileSync } from 'node:fs';
import { check, openPage } from './browser.mjs';

export const ROUNDS = 5;
export const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
export const p95 = (list) => [...list].sort((a, b) => a - b)[Math.max(0, Math.ceil(list.length * 0.95) - 1)];
export const ms = (n) => `${n < 10 ? n.toFixed(1) : n.toFixed(0)} ms`;

const metric = async (devtools, name) => (await devtools.send('Performance.getMetrics')).metrics.find((m) => m.name === name).value;

/** The page's thread: its processor time so far, and its heap. */
export async function threadOf(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  return { cpu_ms: async () => 1000 * (await metric(devtools, 'TaskDuration')), heap_mb: async () => (await metric(devtools, 'JSHeapUsedSize')) / 1e6 };
}

// What `work` takes of a core that is left alone, where the budgets were measured.
const WORK_MS = 22;

/** Run in a page: numbers, texts, elements, their layout, as pages do. */
function work() {
  let seed = 1, sum = 0;
  for (let i = 0; i < 1_500_000; i++) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    sum += Math.sqrt(seed) % 7;
  }
  const list = document.createElement('div');
  for (let i = 0; i < 400; i++) {
    const row = document.createElement('p');
    row.textContent = `row ${i} of ${sum}`;
    row.style.height = `${10 + (i % 5)}px`;
    list.append(row);
  }
  document.body.append(list);
  const height = list.offsetHeight;
  list.remove();
  return height;
}

/** The machine as it is just now. */
export async function yardstick(browser) {
  const { page, context } = await openPage(browser, 'about:blank', { bypassCSP: true });
  const { cpu_ms } = await threadOf(page);
  for (let i = 0; i < 5; i++) await page.evaluate(work); // until it is compiled
  return {
    /** `slow`: how much more processor time things take than they should; `shared`: how much longer than that a clock says. */
    async look() {
      const cpus = [], walls = [];
      for (let i = 0; i < 5; i++) {
        const before = await cpu_ms(), began = performance.now();
        await page.evaluate(work);
        walls.push(performance.now() - began);
        cpus.push((await cpu_ms()) - before);
      }
      return { slow: Math.max(1, median(cpus) / WORK_MS), shared: Math.max(1, median(walls) / median(cpus)) };
    },
    close: () => context.close(),
  };
}

/** Processor time so far of the threads of a server that answer questions; what it tidies up meanwhile is not asked for. */
export function answering_ms(pid) {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      if (readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim() !== 'query') continue;
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // It has ended.
    }
  }
  return ns / 1e6;
}

/**
 * Everything the page does while `act` runs, from the browser's own trace: `spent(until)` is the processor time of the
 * page's threads, its workers with it, up to a mark that the page has set; `longest` that of its thread's longest task.
 */
export async function traced(browser, page, act) {
  await browser.startTracing(page, { categories: ['toplevel', 'blink.user_timing', 'loading'] });
  let events;
  try {
    await act();
  } finally {
    events = JSON.parse((await browser.stopTracing()).toString()).traceEvents;
  }
  const names = new Map(events.filter((e) => e.name === 'thread_name').map((e) => [`${e.pid} ${e.tid}`, e.args.name]));
  const tasks = events.filter((e) => e.ph === 'X' && e.name.endsWith('ThreadControllerImpl::RunTask') && e.tdur !== undefined).map((e) => ({ pid: e.pid, at: e.ts, cpu: e.tdur / 1000, thread: names.get(`${e.pid} ${e.tid}`) ?? '' }));
  // The page's process is that whose main thread did most.
  const sums = new Map();
  for (const t of tasks) if (t.thread === 'CrRendererMain') sums.set(t.pid, (sums.get(t.pid) ?? 0) + t.cpu);
  const pid = [...sums].sort((a, b) => b[1] - a[1])[0]?.[0];
  const own = tasks.filter((t) => t.pid === pid && (t.thread === 'CrRendererMain' || t.thread.startsWith('DedicatedWorker')));
  const mark = (name) => Math.max(...events.filter((e) => e.name === name && (e.cat ?? '').match(/user_timing|loading/)).map((e) => e.ts));
  return {
    spent: (until, since) => own.filter((t) => (until === undefined || t.at < mark(until)) && (since === undefined || t.at >= mark(since))).reduce((sum, t) => sum + t.cpu, 0),
    longest: Math.max(0, ...own.filter((t) => t.thread === 'CrRendererMain').map((t) => t.cpu)),
    tasks: own.length,
  };
}

const TRIES = 3;
/** Whether a budget is kept, and how. `measure` gives { cpu, wall }, medians of rounds. Beside bursts of other work once may
 *  be wrong; three times are not. */
export async function keeps(yard, budget, measure) {
  let told = '';
  for (let n = 0; n < TRIES; n++) {
    const before = await yard.look(), { cpu, wall, note = '' } = await measure(), after = await yard.look();
    const slow = Math.max(before.slow, after.slow), shared = Math.max(before.shared, after.shared);
    told = `${ms(wall)} of ${ms(budget)}; ${ms(cpu)} of processor time${note}${slow > 1.25 ? `, on a machine ${slow.toFixed(1)} times slower` : ''}${shared > 1.25 ? `, of which one gets 1/${shared.toFixed(1)}` : ''}`;
    if (cpu <= budget * slow && wall <= 2 * budget * slow * shared) return { isKept: true, told };
  }
  return { isKept: false, told };
}

export async function judged(name, yard, budget, measure) {
  const { isKept, told } = await keeps(yard, budget, measure);
  return check(name, isKept, told);
}
