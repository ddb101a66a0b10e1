// SPDX-License-Identifier: Apache-2.0
// A picture with at most 256 colours, as a PNG with a palette: a third of the bytes, for pictures that are kept in a repository.
import { deflateSync } from 'node:zlib';
import { PNG } from 'pngjs';

const CRC = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
function chunk(type, data) {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + data.length; i++) crc = CRC[(crc ^ out[i]) & 255] ^ (crc >>> 8);
  out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, 8 + data.length);
  return out;
}

/** The colours that are used most, each at least some steps from those before it; then what is used most of the rest. */
function paletteOf(counts) {
  const order = [...counts].sort((a, b) => b[1] - a[1]).map(([color]) => color);
  const apart = (a, b) => Math.abs((a >> 16) - (b >> 16)) + Math.abs(((a >> 8) & 255) - ((b >> 8) & 255)) + Math.abs((a & 255) - (b & 255));
  const out = [];
  for (const least of [12, 6, 0])
    for (const color of order) {
      if (out.length === 256) return out;
      if (!out.includes(color) && out.every((o) => apart(o, color) >= least)) out.push(color);
    }
  return out;
}

/** `png`: what a browser gives. */
export function withPalette(png) {
  const { width, height, data } = PNG.sync.read(png);
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const color = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const palette = paletteOf(counts), nearest = new Map();
  for (const color of counts.keys()) {
    let best = 0, distance = Infinity;
    for (let k = 0; k < palette.length && distance > 0; k++) {
      const r = (palette[k] >> 16) - (color >> 16), g = ((palette[k] >> 8) & 255) - ((color >> 8) & 255), b = (palette[k] & 255) - (color & 255);
      const d = 2 * r * r + 4 * g * g + 3 * b * b;
      if (d < distance) [best, distance] = [k, d];
    }
    nearest.set(color, best);
  }
  const raw = Buffer.alloc((width + 1) * height);
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i += 4) raw[y * (width + 1) + 1 + x] = nearest.get((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk('IHDR', head),
    chunk('PLTE', Buffer.from(palette.flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]))), chunk('IDAT', deflateSync(raw, { level: 9 })), chunk('IEND', Buffer.alloc(0)),
  ]);
}
