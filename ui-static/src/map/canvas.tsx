// SPDX-License-Identifier: Apache-2.0
// The drawn map: a canvas for the eye, and over it a button for each node, for the keyboard, the reader and tests.
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import { useKeys } from '../lib/keys.ts';
import { formatPercent, formatRate, formatDuration, plural } from '../lib/units.ts';
import { IconButton } from '../ui/button.tsx';
import { type Scene } from './draw.ts';
import { ERR_SEEN, type Vertex } from './graph.ts';
import { neighbour } from './scene.ts';
import { Stage } from './stage.ts';
import { kindWord } from './words.ts';

export interface MapCanvasProps {
  scene: Scene;
  /** Changes when the camera should look at everything anew. */
  fitKey: string;
  node: number;
  edge: number;
  found: ReadonlySet<number> | null;
  allEdges: boolean;
  onNode: (index: number) => void;
  onEdge: (index: number) => void;
  onNothing: () => void;
  onMoved: (index: number, x: number, y: number) => void;
  onFocus: (index: number) => void;
  /** A group is to be opened. */
  onOpen: (index: number) => void;
  onHops: (hops: number) => void;
  onErrors: () => void;
  /** Increases when the first found node should come into the middle. */
  centre: { node: number; count: number };
}

/** What a reader hears of a node. */
export function nodeLabel(v: Vertex): string {
  const parts = [v.name, v.kind === 'group' ? `group of ${v.members.length}` : kindWord(v)];
  if (v.rate > 0) parts.push(`${formatRate(v.rate).replace('/s', ' per second')}`);
  else parts.push('no calls in this range');
  if ((v.err ?? 0) >= ERR_SEEN) parts.push(`${formatPercent(v.err)} errors`);
  if (v.p95 !== null) parts.push(`p95 ${v.upTo ? 'up to ' : ''}${formatDuration(v.p95)}`);
  return parts.join(', ');
}

export function MapCanvas(props: MapCanvasProps) {
  const { scene, node, edge, found, allEdges } = props;
  const root = useRef<HTMLDivElement>(null), canvas = useRef<HTMLCanvasElement>(null);
  const minimap = useRef<HTMLCanvasElement>(null), overlay = useRef<HTMLDivElement>(null);
  const stage = useRef<Stage | null>(null);
  const latest = useRef(props);
  latest.current = props;
  // The node that Tab reaches; arrows move on from it.
  const cursor = useSignal('');
  const fitted = useRef('');

  useLayoutEffect(() => {
    stage.current = new Stage(root.current!, canvas.current!, minimap.current!, overlay.current!, {
      onNode: (i) => latest.current.onNode(i),
      onEdge: (i) => latest.current.onEdge(i),
      onNothing: () => latest.current.onNothing(),
      onMoved: (i, x, y) => latest.current.onMoved(i, x, y),
      onHover: () => {},
    });
    return () => stage.current!.destroy();
  }, []);
  useLayoutEffect(() => {
    stage.current!.show(scene, fitted.current !== props.fitKey);
    fitted.current = props.fitKey;
  }, [scene, props.fitKey]);
  useLayoutEffect(() => stage.current!.set({ node, edge, found, allEdges }), [node, edge, found, allEdges]);
  useEffect(() => {
    // The panel takes room from the map: what it is about stays in sight.
    if (node < 0) return;
    const frame = requestAnimationFrame(() => stage.current!.reveal(node));
    return () => cancelAnimationFrame(frame);
  }, [node]);
  useEffect(() => {
    if (props.centre.node >= 0) stage.current!.reveal(props.centre.node, true);
  }, [props.centre.count]);

  const current = scene.nodes.findIndex((v) => v.id === cursor.value);
  const tabbed = current >= 0 ? current : node >= 0 ? node : scene.labels[0] ?? -1;
  // Keys may come faster than renders: the focus itself says where it is.
  const focusedNode = (): number => Number((document.activeElement?.closest('.map-node') as HTMLElement | null)?.dataset.node ?? -1);
  const step = (dx: number, dy: number) => {
    const to = neighbour(latest.current.scene, focusedNode(), dx, dy);
    if (to < 0) return;
    cursor.value = latest.current.scene.nodes[to]!.id;
    overlay.current!.querySelector<HTMLElement>(`[data-node="${to}"]`)?.focus({ preventScroll: true });
  };
  const focused = () => focusedNode() >= 0;
  const picked = () => (focused() ? focusedNode() : latest.current.node);
  useKeys('Map', [
    { keys: 'ArrowLeft', label: 'Nearest node to the left', run: () => step(-1, 0), when: focused },
    { keys: 'ArrowRight', label: 'Nearest node to the right', run: () => step(1, 0), when: focused },
    { keys: 'ArrowUp', label: 'Nearest node above', run: () => step(0, -1), when: focused },
    { keys: 'ArrowDown', label: 'Nearest node below', run: () => step(0, 1), when: focused },
    { keys: 'f', label: 'Focus on the node', run: () => latest.current.onFocus(picked()), when: () => picked() >= 0 },
    { keys: '1', label: 'One hop', run: () => latest.current.onHops(1) },
    { keys: '2', label: 'Two hops', run: () => latest.current.onHops(2) },
    { keys: '3', label: 'Three hops', run: () => latest.current.onHops(3) },
    { keys: 'e', label: 'Errors only, or all', run: () => latest.current.onErrors() },
    { keys: '+', label: 'Zoom in', run: () => stage.current!.zoomBy(1.25) },
    { keys: '-', label: 'Zoom out', run: () => stage.current!.zoomBy(0.8) },
    { keys: '0', label: 'Show everything', run: () => stage.current!.fit() },
  ]);

  return (
    <div class="map-stage" ref={root} role="group" aria-label="Service map">
      <canvas class="map-canvas" ref={canvas} aria-hidden="true" />
      <div class="map-overlay" ref={overlay}>
        {scene.nodes.map((v, i) => {
          const r = Math.max(scene.r[i]!, 14);
          return (
            <button
              key={v.id}
              type="button"
              class="map-node"
              data-node={i}
              tabIndex={i === tabbed ? 0 : -1}
              aria-pressed={i === node}
              aria-label={nodeLabel(v)}
              style={{ left: `${scene.x[i]! - r}px`, top: `${scene.y[i]! - r}px`, width: `${2 * r}px`, height: `${2 * r}px` }}
              onClick={() => props.onNode(i)}
              onDblClick={() => /^(group|domain):/.test(v.id) && props.onOpen(i)}
              onFocus={() => {
                cursor.value = v.id;
                stage.current!.hover(i, -1);
                stage.current!.reveal(i);
              }}
              onBlur={() => stage.current!.hover(-1, -1)}
            />
          );
        })}
      </div>
      <div class="map-zoom map-control" role="group" aria-label="Zoom">
        <IconButton icon="include" label="Zoom in" keys="+" onClick={() => stage.current!.zoomBy(1.25)} />
        <IconButton icon="exclude" label="Zoom out" keys="-" onClick={() => stage.current!.zoomBy(0.8)} />
        <IconButton icon="expand" label="Show everything" keys="0" onClick={() => stage.current!.fit()} />
      </div>
      <canvas class="map-mini map-control" ref={minimap} aria-hidden="true" hidden />
      <p class="visually-hidden" role="status">
        {found === null ? '' : `${plural(found.size, 'node')} found`}
      </p>
    </div>
  );
}
