// SPDX-License-Identifier: Apache-2.0
// The service map: what is wrong now, worst things loud, the rest quiet.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useApi } from '../api/client.ts';
import { navigate, params } from '../lib/route.ts';
import { range, rangeQuery, refresh } from '../lib/time.ts';
import { formatCount, plural } from '../lib/units.ts';
import { startWorker } from '../lib/worker.ts';
import { Page } from '../shell/page.tsx';
import { hasData } from '../shell/server.tsx';
import { FirstRun } from '../status/firstrun.tsx';
import { Choice, Chip, FindField, Select } from '../ui/button.tsx';
import { Dialog } from '../ui/popup.tsx';
import { Answer, Empty, Note, reasonText, Skeleton } from '../ui/states.tsx';
import { Copy } from '../ui/button.tsx';
import { traceHref } from '../lib/links.ts';
import type { MapAnswer } from './answer.ts';
import { MapCanvas } from './canvas.tsx';
import type { Scene } from './draw.ts';
import { view as viewOf, type View, type Wish } from './graph.ts';
import { keep, pairOf, shapeOfView, standing, tallness, type Standing } from './keep.ts';
import type { Answer as LayoutAnswer, Layout } from './layout.ts';
import { Matrix, type Cell } from './matrix.tsx';
import { EdgePanel, NodePanel, type PanelActions } from './panel.tsx';
import { sceneOf } from './scene.ts';
import { Legend } from './legend.tsx';
import { gapText, groupingWord } from './words.ts';

/** The most nodes that one answer may hold; more are counted in `hidden`. */
const LIMIT = 1000;

/** A view with its positions; the last one stays until the next is laid out. */
interface Drawn {
  view: View;
  scene: Scene;
  standing: Standing;
  /** What the view was asked for: its positions hold until this changes. */
  intent: string;
}

const PANEL = 440; // px

let worker: Worker | null = null;
let asked = 0;

function layout(layout: Layout, view: View): { done: Promise<LayoutAnswer>; strong: number[] } {
  worker ??= startWorker('layout');
  const own = worker, id = ++asked, { shape, strong } = shapeOfView(view);
  const done = new Promise<LayoutAnswer>((resolve, reject) => {
    const hear = (event: MessageEvent<LayoutAnswer>): void => {
      if (event.data.id !== id) return;
      own.removeEventListener('message', hear);
      resolve(event.data);
    };
    own.addEventListener('message', hear);
    own.addEventListener('error', () => reject(new Error('The layout failed.')), { once: true });
    own.postMessage({ id, layout, shape });
  });
  return { done, strong };
}

/** `beside`: px of the room that a panel will take. */
function useDrawn(view: View | null, intent: string, how: Layout, beside: number): { drawn: Drawn | null; failed: boolean; move: (index: number, x: number, y: number) => void } {
  const [drawn, setDrawn] = useState<Drawn | null>(null);
  const [failed, setFailed] = useState(false);
  const latest = useRef<Drawn | null>(null);
  const put = (next: Drawn): void => {
    latest.current = next;
    setDrawn(next);
  };
  useEffect(() => {
    if (view === null) return;
    const old = latest.current;
    const kept = old !== null && old.intent === intent ? keep(view, old.standing) : null;
    if (kept !== null) {
      put({ view, standing: kept, scene: sceneOf(view, kept), intent });
      return;
    }
    let wanted = true;
    const { done, strong } = layout(how, view);
    done.then((answer) => {
      if (!wanted) return;
      const room = document.querySelector('.map-answer');
      const tall = room === null ? 1 : tallness(answer.places, room.clientWidth - beside, room.clientHeight);
      const stands = standing(view, strong, answer.layout, answer.places, tall);
      put({ view, standing: stands, scene: sceneOf(view, stands), intent });
    }, () => setFailed(true));
    return () => {
      wanted = false;
    };
  }, [view, intent]);
  const move = (index: number, x: number, y: number): void => {
    const old = latest.current;
    if (old === null) return;
    // A moved node's lines lose their bends: they go straight to where it stands now.
    const id = old.view.nodes[index]!.id, spots = new Map(old.standing.spots), lines = new Map(old.standing.lines);
    spots.set(id, { x, y });
    for (const key of lines.keys()) if (key.startsWith(`${id}>`) || key.endsWith(`>${id}`)) lines.delete(key);
    const stands = { ...old.standing, spots, lines };
    put({ ...old, standing: stands, scene: sceneOf(old.view, stands) });
  };
  return { drawn, failed, move };
}

/** Nodes, or members of groups, whose name has the text. */
function findIn(answer: MapAnswer, view: View, text: string): Set<number> | null {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return null;
  return new Set(view.nodes.flatMap((v, i) =>
    (v.name.toLowerCase().includes(wanted) || v.members.some((m) => answer.nodes[m]!.name.toLowerCase().includes(wanted)) ? [i] : [])));
}

export default function MapPage() {
  const p = params('map');
  const answer = useApi<MapAnswer>('/map', { ...rangeQuery(), env: p.env, limit: LIMIT }, { still: p.sel !== '' });
  const [showsGaps, setShowsGaps] = useState(false);
  const [centre, setCentre] = useState({ node: -1, count: 0 });
  const at = useRef(0);

  const wish: Wish = { group: p.group, open: new Set(p.open), focus: p.focus, hops: p.hops, dir: p.dir, show: p.show };
  const intent = JSON.stringify([p.group, p.open, p.focus, p.hops, p.dir, p.show, p.layout, p.env]);
  const data = answer.data !== undefined && answer.data.nodes.length > 0 ? answer.data : null;
  const view = useMemo(() => (data === null ? null : viewOf(data, wish)), [data, intent]);
  const isMatrix = p.layout === 'matrix';
  const { drawn, failed, move } = useDrawn(isMatrix ? null : view, intent, p.layout === 'matrix' ? 'auto' : p.layout, p.sel === '' ? 0 : PANEL);

  // Selections are by ID in the URL, by index here.
  const shown = isMatrix ? view : drawn?.view ?? null;
  const [node, edge] = useMemo(() => {
    if (shown === null || p.sel === '') return [-1, -1];
    const i = shown.nodes.findIndex((v) => v.id === p.sel);
    if (i >= 0) return [i, -1];
    const member = data === null ? -1 : data.nodes.findIndex((n) => n.id === p.sel);
    if (member >= 0 && shown.at[member]! >= 0) return [shown.at[member]!, -1];
    return [-1, shown.edges.findIndex((e) => pairOf(shown, e) === p.sel)];
  }, [shown, p.sel, data]);
  const found = useMemo(() => (data === null || shown === null ? null : findIn(data, shown, p.find)), [data, shown, p.find]);

  const select = (id: string): void => navigate('map', { sel: id === p.sel ? '' : id }, 'push');
  const edgeId = (i: number): string => pairOf(shown!, shown!.edges[i]!);
  const focus = (id: string): void => navigate('map', { focus: p.focus === id ? '' : id }, 'push');
  const actions: PanelActions = {
    onEdge: (i) => select(edgeId(i)),
    onNode: select,
    onFocus: focus,
    onOpen: (group) => navigate('map', { open: [...p.open, group], sel: '' }, 'push'),
  };
  const centreOn = (i: number): void => setCentre({ node: i, count: centre.count + 1 });
  const nextFound = (): void => {
    if (found === null || found.size === 0) return;
    centreOn([...found][at.current++ % found.size]!);
  };
  useEffect(() => {
    at.current = 0;
    if (found !== null && found.size > 0 && found.size <= 3) centreOn([...found][0]!);
  }, [p.find]);

  // From the first span on, ask every second until it is on the map.
  const waiting = useRef(false);
  if (hasData.value === false) waiting.current = true;
  if (data !== null) waiting.current = false;
  const asks = waiting.current && hasData.value === true;
  useEffect(() => {
    if (!asks) return;
    const timer = setInterval(refresh, 1000);
    return () => clearInterval(timer);
  }, [asks]);

  const gaps = data?.gaps ?? [];
  const bar = (
    <>
      <div class="map-find">
        <FindField id="map-find" label="Find service" value={p.find} onInput={(find) => navigate('map', { find }, 'replace')} onEnter={nextFound} />
      </div>
      {found !== null && <span class="dim">{plural(found.size, 'match', 'matches')}</span>}
      <Select label="Group" value={p.group} onChange={(group) => navigate('map', { group, open: [] }, 'replace')}
        options={[['auto', 'Group: auto'], ['ns', 'By namespace'], ['env', 'By environment'], ['none', 'No groups']]} />
      <Choice label="Show" value={p.show} onChange={(show) => navigate('map', { show }, 'replace')}
        options={[['all', 'All'], ['errors', 'Errors'], ['slow', 'Slow']]} />
      <Choice label="Layout" value={p.layout === 'auto' ? drawn?.standing.layout ?? 'flow' : p.layout}
        onChange={(l) => navigate('map', { layout: l }, 'replace')} options={[['flow', 'Flow'], ['compact', 'Compact'], ['matrix', 'Matrix']]} />
      {isMatrix && (
        <Choice label="Cells" value={p.cell} onChange={(cell) => navigate('map', { cell }, 'replace')}
          options={[['rate', 'Rate'], ['err', 'Errors'], ['p95', 'p95']] satisfies [Cell, string][]} />
      )}
      {!isMatrix && <Legend />}
      {p.focus !== '' && (
        <>
          <Chip label="focus" onRemove={() => navigate('map', { focus: '', hops: 1, dir: 'both' }, 'push')}>
            Focus: {nameOf(data, shown, p.focus)}
          </Chip>
          <Choice label="Hops" value={String(p.hops) as '1' | '2' | '3'} onChange={(h) => navigate('map', { hops: Number(h) }, 'replace')}
            options={[['1', '1 hop'], ['2', '2'], ['3', '3']]} />
          <Select label="Direction" value={p.dir} onChange={(dir) => navigate('map', { dir }, 'replace')}
            options={[['both', 'in and out'], ['in', 'callers'], ['out', 'callees']]} />
        </>
      )}
      {p.open.map((id) => (
        <Chip key={id} label={`the open group ${groupName(id)}`} onRemove={() => navigate('map', { open: p.open.filter((o) => o !== id) }, 'push')}>
          {groupName(id)}
        </Chip>
      ))}
    </>
  );

  const notes = data !== null && shown !== null && (
    <div class="map-notes">
      {shown.faint > 0 && !isMatrix && (
        <button type="button" class="linklike" aria-pressed={p.edges === 'all'} onClick={() => navigate('map', { edges: p.edges === 'all' ? 'main' : 'all' }, 'replace')}>
          {p.edges === 'all' ? `${plural(shown.faint, 'minor edge')} in full: make ${shown.faint === 1 ? 'it' : 'them'} faint` : `+ ${plural(shown.faint, 'minor edge')} faint: show all`}
        </button>
      )}
      {shown.hidden.show > 0 && (
        <button type="button" class="linklike" onClick={() => navigate('map', { show: 'all' }, 'replace')}>
          {formatCount(shown.hidden.show)} {p.show === 'errors' ? 'without errors' : 'not slow'} hidden: show all
        </button>
      )}
      {shown.hidden.focus > 0 && (
        <button type="button" class="linklike" onClick={() => navigate('map', { focus: '', hops: 1, dir: 'both' }, 'push')}>
          {formatCount(shown.hidden.focus)} outside the focus: show all
        </button>
      )}
      {shown.hidden.limit > 0 && <span>{formatCount(shown.hidden.limit)} of the quietest drawn as one in their group</span>}
      {data.hidden.nodes + data.hidden.edges > 0 && (
        <span>the server left out {plural(data.hidden.nodes, 'node')} and {plural(data.hidden.edges, 'edge')}: the quietest beyond {formatCount(LIMIT)}</span>
      )}
      {gaps.length > 0 && (
        <button type="button" class="linklike" onClick={() => setShowsGaps(true)}>
          {plural(new Set(gaps.map((g) => g.s)).size, 'service')} with missing edges: why?
        </button>
      )}
    </div>
  );

  const foot = data !== null && shown !== null && (
    <span>
      {plural(data.nodes.filter((n) => n.kind === 'service').length, 'service')}
      {shown.groups > 0 && `, ${plural(shown.groups, 'group')} ${groupingWord(shown.grouping)}`} · {plural(data.nodes.length, 'node')},{' '}
      {plural(data.edges.length, 'edge')} · {data.partial ? 'the last minute is not over' : 'complete'} · {Math.round(data.took_ms)} ms
    </span>
  );

  const panel = data === null || shown === null ? undefined
    : node >= 0 ? <NodePanel answer={data} view={shown} index={node} actions={actions} isFocus={shown.nodes[node]!.id === p.focus} />
    : edge >= 0 ? <EdgePanel answer={data} view={shown} index={edge} actions={actions} />
    : p.sel !== '' ? <Gone sel={p.sel} onShow={() => navigate('map', { show: 'all', focus: '', sel: p.sel }, 'replace')} />
    : undefined;
  const panelTitle = node >= 0 ? shown!.nodes[node]!.name || '(no name)' : edge >= 0 ? 'Edge' : 'Not on the map';

  return (
    <Page title={['Map']} bar={bar} foot={foot} panel={panel} panelTitle={panelTitle} fills
      onPanelClose={() => navigate('map', { sel: '' }, 'push')} hold={p.sel === '' ? '' : 'something is selected'} class="map-page">
      <Answer of={answer} skeleton={<MapSkeleton />} class="map-answer">
        {(got) => {
          if (got.nodes.length === 0) return waiting.current ? <FirstRun /> : <Nothing reason={got.reason} />;
          if (isMatrix && view !== null) {
            return (
              <>
                <Matrix view={view} cell={p.cell} selected={edge} found={found} onEdge={(i) => select(edgeId(i))} onNode={(i) => select(view.nodes[i]!.id)} />
                {notes}
              </>
            );
          }
          if (drawn === null && failed) {
            return (
              <Empty title="The map could not be laid out here." icon="error"
                action={<button type="button" class="button plain" onClick={() => navigate('map', { layout: 'matrix' }, 'replace')}>Show it as a table</button>} />
            );
          }
          if (drawn === null) return <MapSkeleton />;
          if (drawn.view.nodes.length === 0) {
            return (
              <Empty title={p.show === 'errors' ? 'No errors in this range.' : 'Nothing to show.'} icon="check"
                action={<button type="button" class="button plain" onClick={() => navigate('map', { show: 'all', focus: '' }, 'replace')}>Show all</button>} />
            );
          }
          return (
            <>
              <MapCanvas scene={drawn.scene} fitKey={drawn.intent} node={node} edge={edge} found={found} allEdges={p.edges === 'all'} centre={centre}
                onNode={(i) => select(drawn.view.nodes[i]!.id)} onEdge={(i) => select(edgeId(i))}
                onNothing={() => p.sel !== '' && navigate('map', { sel: '' }, 'push')} onMoved={move}
                onFocus={(i) => focus(drawn.view.nodes[i]!.id)} onOpen={(i) => actions.onOpen(drawn.view.nodes[i]!.id)} onHops={(hops) => navigate('map', { hops }, 'replace')}
                onErrors={() => navigate('map', { show: p.show === 'errors' ? 'all' : 'errors' }, 'replace')} />
              {notes}
            </>
          );
        }}
      </Answer>
      {showsGaps && data !== null && <Gaps answer={data} onClose={() => setShowsGaps(false)} onNode={(id) => {
        setShowsGaps(false);
        select(id);
      }} />}
    </Page>
  );
}

const groupName = (id: string): string => {
  const text = id.replace(/^(group|domain|more):/, '');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function nameOf(data: MapAnswer | null, view: View | null, id: string): string {
  return view?.nodes.find((v) => v.id === id)?.name ?? data?.nodes.find((n) => n.id === id)?.name ?? groupName(id);
}

function MapSkeleton() {
  return (
    <div class="map-waits">
      <Skeleton rows={3} />
    </div>
  );
}

function Nothing({ reason }: { reason: string | undefined }) {
  const wider = (): void => navigate('map', { from: 'now-24h', to: 'now', env: '' }, 'push');
  return (
    <Empty title={reasonText(reason, 'Nothing')} icon="map"
      action={hasData.value === true ? <button type="button" class="button primary" onClick={wider}>Look at the last 24 hours</button> : undefined}>
      {range.value.isLive && hasData.value === true ? 'No service has sent spans in this range and environment.' : undefined}
    </Empty>
  );
}

function Gone({ sel, onShow }: { sel: string; onShow: () => void }) {
  return (
    <div class="map-panel">
      <Note>
        {groupName(sel.replace(/^[a-z]+:/, ''))} is not on the map now: it had no traffic in this range, or a filter hides it.
      </Note>
      <div class="map-doors">
        <button type="button" class="button plain" onClick={onShow}>Show all</button>
      </div>
    </div>
  );
}

function Gaps({ answer, onClose, onNode }: { answer: MapAnswer; onClose: () => void; onNode: (id: string) => void }) {
  const kinds = [...new Set(answer.gaps.map((g) => g.why))];
  return (
    <Dialog title="Why is this edge missing?" onClose={onClose} wide>
      <div class="map-gaps">
        {kinds.map((why) => (
          <section key={why}>
            <h3>{(gapText[why]?.short ?? why).replace(/^./, (c) => c.toUpperCase())}</h3>
            <p class="dim">{gapText[why]?.long}</p>
            <table class="map-calls">
              <tbody>
                {answer.gaps.filter((g) => g.why === why).sort((a, b) => b.count - a.count).slice(0, 50).map((g) => (
                  <tr key={g.s}>
                    <td>
                      <button type="button" class="linklike cut" onClick={() => onNode(answer.nodes[g.s]!.id)}>{answer.nodes[g.s]!.name}</button>
                    </td>
                    <td class="num">{formatCount(g.count)}</td>
                    <td>
                      {g.samples.slice(0, 3).map((id) => (
                        <span key={id} class="map-sample">
                          <a class="mono" href={traceHref(id)}>{id.slice(0, 8)}</a>
                          <Copy text={id} label="Copy the trace's ID" />
                        </span>
                      ))}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
