// SPDX-License-Identifier: Apache-2.0
// The canvas, its camera and the pointer: imperative, one frame at a time. Components tell it what to show.
import { onTheme, readColors } from '../charts/colors.ts';
import { distance } from './curves.ts';
import { COLORS, draw, drawMinimap, prepare, type Camera, type Look, type Prepared, type Scene } from './draw.ts';
import { boundsOf } from './scene.ts';

const MIN = 0.08, MAX = 3;
const NEAR = 7; // px from a line that still mean it

export interface StageEvents {
  onNode(index: number): void;
  onEdge(index: number): void;
  onNothing(): void;
  onMoved(index: number, x: number, y: number): void;
  onHover(index: number): void;
}

export class Stage {
  readonly camera: Camera = { zoom: 1, x: 0, y: 0, width: 0, height: 0 };
  private scene: Scene | null = null;
  private ready: Prepared | null = null;
  private look: Look;
  private frame = 0;
  /** Nothing has been painted yet: the first frame is marked, for measurements. */
  private isNew = true;
  private readonly context: CanvasRenderingContext2D;
  private readonly small: CanvasRenderingContext2D;
  private readonly stop: Array<() => void> = [];
  private drag: { node: number; x: number; y: number; moved: boolean; ox: number; oy: number } | null = null;
  private size = '';
  /** The user has moved the camera: it no longer follows the size. */
  private moved = false;

  constructor(
    private readonly root: HTMLElement,
    private readonly canvas: HTMLCanvasElement,
    private readonly minimap: HTMLCanvasElement,
    private readonly overlay: HTMLElement,
    private readonly events: StageEvents,
  ) {
    this.context = canvas.getContext('2d')!;
    this.small = minimap.getContext('2d')!;
    this.look = {
      colors: readColors(COLORS), sans: getComputedStyle(root).fontFamily, node: -1, edge: -1, hoverNode: -1, hoverEdge: -1,
      found: null, allEdges: false,
    };
    this.stop.push(onTheme(() => {
      this.look.colors = readColors(COLORS);
      this.later();
    }));
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(root);
    this.stop.push(() => resized.disconnect());
    const on = <K extends keyof HTMLElementEventMap>(name: K, run: (e: HTMLElementEventMap[K]) => void): void => {
      root.addEventListener(name, run as EventListener, { passive: false });
      this.stop.push(() => root.removeEventListener(name, run as EventListener));
    };
    on('wheel', (e) => this.wheel(e));
    on('pointerdown', (e) => this.down(e));
    on('pointermove', (e) => this.move(e));
    on('pointerup', (e) => this.up(e));
    on('pointercancel', () => (this.drag = null));
    on('pointerleave', () => this.hover(-1, -1));
    on('dblclick', (e) => {
      if (this.nodeOf(e.target) < 0) this.zoomAt(1.6, ...this.point(e));
    });
    minimap.addEventListener('pointerdown', (e) => this.jump(e));
    minimap.addEventListener('pointermove', (e) => {
      if (e.buttons === 1) this.jump(e);
    });
    this.resize();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    for (const stop of this.stop) stop();
  }

  show(scene: Scene, refit: boolean): void {
    this.scene = scene;
    this.ready = prepare(scene);
    if (refit) {
      this.moved = false;
      this.fit();
    }
    this.later();
  }

  set(look: Partial<Pick<Look, 'node' | 'edge' | 'found' | 'allEdges'>>): void {
    Object.assign(this.look, look);
    this.later();
  }

  fit(): void {
    if (this.scene === null || this.camera.width === 0) return;
    const b = boundsOf(this.scene), c = this.camera, pad = 28;
    c.zoom = Math.max(MIN, Math.min(1.2, (c.width - 2 * pad) / (b.r - b.l), (c.height - 2 * pad) / (b.b - b.t)));
    c.x = (c.width - (b.l + b.r) * c.zoom) / 2;
    c.y = (c.height - (b.t + b.b) * c.zoom) / 2;
    this.later();
  }

  zoomBy(factor: number): void {
    this.zoomAt(factor, this.camera.width / 2, this.camera.height / 2);
  }

  /** Brings a node into sight, in the middle where it is out of it. */
  reveal(index: number, centre = false): void {
    const s = this.scene, c = this.camera;
    if (s === null || index < 0 || index >= s.nodes.length) return;
    const x = s.x[index]! * c.zoom + c.x, y = s.y[index]! * c.zoom + c.y;
    if (!centre && x > 40 && y > 40 && x < c.width - 40 && y < c.height - 50) return;
    if (centre && c.zoom < 0.7) c.zoom = 0.9;
    c.x = c.width / 2 - s.x[index]! * c.zoom;
    c.y = c.height / 2 - s.y[index]! * c.zoom;
    this.moved = true;
    this.later();
  }

  hover(node: number, edge: number): void {
    if (node === this.look.hoverNode && edge === this.look.hoverEdge) return;
    this.look.hoverNode = node;
    this.look.hoverEdge = edge;
    this.root.classList.toggle('over-edge', edge >= 0 && node < 0);
    this.later();
  }

  private later(): void {
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    this.frame = 0;
    const c = this.camera;
    this.overlay.style.transform = `translate(${c.x}px, ${c.y}px) scale(${c.zoom})`;
    if (this.scene === null || this.ready === null || c.width === 0) return;
    draw(this.context, this.scene, this.ready, c, this.look);
    if (this.isNew) performance.mark('map-drawn');
    this.isNew = false;
    const b = boundsOf(this.scene);
    const whole = b.l * c.zoom + c.x >= -1 && b.r * c.zoom + c.x <= c.width + 1 && b.t * c.zoom + c.y >= -1 && b.b * c.zoom + c.y <= c.height + 1;
    this.minimap.hidden = whole;
    if (!whole) drawMinimap(this.small, this.scene, c, this.look, b, this.minimap.clientWidth, this.minimap.clientHeight);
  }

  private resize(): void {
    const w = this.root.clientWidth, h = this.root.clientHeight, dpr = devicePixelRatio || 1;
    if (w === 0 || h === 0) return;
    // The panel's coming and going moves nothing; another size of the window does.
    const size = `${innerWidth} ${innerHeight}`, first = this.size !== size;
    this.size = size;
    this.camera.width = w;
    this.camera.height = h;
    this.canvas.width = Math.round(w * dpr);
    this.canvas.height = Math.round(h * dpr);
    this.minimap.width = Math.round(168 * dpr);
    this.minimap.height = Math.round(108 * dpr);
    if (first && !this.moved) this.fit();
    this.later();
  }

  private point(e: MouseEvent): [number, number] {
    const box = this.root.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  private nodeOf(target: EventTarget | null): number {
    const button = target instanceof Element ? target.closest<HTMLElement>('[data-node]') : null;
    return button === null ? -1 : Number(button.dataset.node);
  }

  private edgeAt(px: number, py: number): number {
    if (this.scene === null) return -1;
    const c = this.camera, x = (px - c.x) / c.zoom, y = (py - c.y) / c.zoom;
    let best = -1, least = NEAR / c.zoom;
    this.scene.curves.forEach((curve, i) => {
      const far = distance(curve, x, y, least);
      if (far < least) {
        least = far;
        best = i;
      }
    });
    return best;
  }

  private zoomAt(factor: number, px: number, py: number): void {
    const c = this.camera, zoom = Math.max(MIN, Math.min(MAX, c.zoom * factor));
    c.x = px - ((px - c.x) * zoom) / c.zoom;
    c.y = py - ((py - c.y) * zoom) / c.zoom;
    c.zoom = zoom;
    this.moved = true;
    this.later();
  }

  private wheel(e: WheelEvent): void {
    e.preventDefault();
    const lines = e.deltaMode === 1 ? 16 : 1;
    this.zoomAt(Math.exp((-e.deltaY * lines * (e.ctrlKey ? 4 : 1)) / 500), ...this.point(e));
  }

  private down(e: PointerEvent): void {
    if (e.button !== 0 || (e.target as Element).closest('.map-control') !== null) return;
    const node = this.nodeOf(e.target), s = this.scene;
    const [px, py] = this.point(e);
    this.drag = { node, x: px, y: py, moved: false, ox: node < 0 ? this.camera.x : s!.x[node]!, oy: node < 0 ? this.camera.y : s!.y[node]! };
  }

  private move(e: PointerEvent): void {
    const [px, py] = this.point(e), d = this.drag, c = this.camera;
    if (d === null || e.buttons === 0) {
      this.drag = null;
      const control = (e.target as Element).closest('.map-control') !== null;
      const node = control ? -1 : this.nodeOf(e.target);
      this.hover(node, node >= 0 || control ? -1 : this.edgeAt(px, py));
      return;
    }
    const dx = px - d.x, dy = py - d.y;
    if (!d.moved && Math.hypot(dx, dy) < 4) return;
    if (!d.moved) {
      d.moved = true;
      this.root.setPointerCapture(e.pointerId);
      this.root.classList.add('dragging');
    }
    if (d.node < 0) {
      c.x = d.ox + dx;
      c.y = d.oy + dy;
      this.moved = true;
      this.later();
    } else this.events.onMoved(d.node, d.ox + dx / c.zoom, d.oy + dy / c.zoom);
  }

  private up(e: PointerEvent): void {
    const d = this.drag;
    this.drag = null;
    this.root.classList.remove('dragging');
    if (d === null || d.moved) return;
    if (d.node >= 0) return; // its button's click
    const edge = this.edgeAt(...this.point(e));
    if (edge >= 0) this.events.onEdge(edge);
    else this.events.onNothing();
  }

  private jump(e: PointerEvent): void {
    if (this.scene === null) return;
    e.preventDefault();
    const b = boundsOf(this.scene), w = this.minimap.clientWidth, h = this.minimap.clientHeight, c = this.camera;
    const scale = Math.min((w - 8) / (b.r - b.l), (h - 8) / (b.b - b.t)), box = this.minimap.getBoundingClientRect();
    const x = (e.clientX - box.left - (w - (b.r - b.l) * scale) / 2) / scale + b.l;
    const y = (e.clientY - box.top - (h - (b.b - b.t) * scale) / 2) / scale + b.t;
    c.x = c.width / 2 - x * c.zoom;
    c.y = c.height / 2 - y * c.zoom;
    this.moved = true;
    this.later();
  }
}
