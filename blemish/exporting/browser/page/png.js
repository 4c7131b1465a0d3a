// PNG to RGB, by the same rules as Blemish's own decoder and to the bit: alpha is dropped, 16 bits are scaled, no colour
// profile is applied. A browser's canvas does none of the three.
import { Refusal } from "./errors.js";

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const WHOLE = [[0, 0, 1, 1]];
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]; // x, y, steps

// {width, height, data, exif} of a file's bytes; `bitDepth` says which samples of 16 bits are black and white.
export async function decodePng(bytes, bitDepth, checkSize) {
  const chunks = readChunks(bytes);
  const header = readHeader(chunks.IHDR?.[0]);
  checkSize(header.width, header.height);
  if (!chunks.IDAT || (header.type === 3 && !chunks.PLTE)) throw damaged();
  const image = { width: header.width, height: header.height, data: new Uint8Array(header.width * header.height * 3) };
  const paint = painter(header, image, chunks.PLTE?.[0], bitDepth);
  const lines = new Lines(header, paint);
  try {
    for await (const part of inflated(chunks.IDAT)) lines.take(part);
  } catch (error) {
    throw error instanceof Refusal ? error : damaged();
  }
  if (!lines.isDone) throw damaged();
  return { ...image, exif: chunks.eXIf?.[0] };
}

const damaged = () => new Refusal("is a damaged PNG file");

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), chunks = {};
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) break;
    if (crc(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) throw damaged();
    if (name === "IEND") return chunks;
    (chunks[name] ??= []).push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  throw new Refusal("is cut short: the end of the PNG data is missing");
}

function readHeader(chunk) {
  if (chunk?.length !== 13) throw damaged();
  const view = new DataView(chunk.buffer, chunk.byteOffset, 13);
  const [depth, type, , , interlaced] = chunk.subarray(8);
  if (!DEPTHS[type]?.includes(depth) || interlaced > 1) throw damaged();
  return { width: view.getUint32(0), height: view.getUint32(4), depth, type, interlaced, bits: depth * CHANNELS[type] };
}

async function* inflated(parts) {
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (let part; !(part = await reader.read()).done; ) yield part.value;
}

// Takes the inflated bytes as they come, undoes the filters, and hands every line to `paint(line, y, x, step)`.
class Lines {
  constructor({ width, height, bits, interlaced }, paint) {
    Object.assign(this, { width, height, bits, paint, gap: Math.max(1, bits >> 3) });
    this.passes = (interlaced ? ADAM7 : WHOLE).filter(([x, y]) => x < width && y < height);
    this.next();
  }

  next() {
    const pass = this.passes.shift();
    this.isDone = !pass;
    if (!pass) return;
    const [x, y, stepX, stepY] = pass;
    const length = 1 + Math.ceil((Math.ceil((this.width - x) / stepX) * this.bits) / 8);
    Object.assign(this, { x, y, stepX, stepY, line: new Uint8Array(length), above: new Uint8Array(length), filled: 0 });
  }

  take(part) {
    for (let at = 0; at < part.length && !this.isDone; ) {
      const piece = part.subarray(at, at + this.line.length - this.filled);
      this.line.set(piece, this.filled);
      this.filled += piece.length;
      at += piece.length;
      if (this.filled === this.line.length) this.finishLine();
    }
  }

  finishLine() {
    unfilter(this.line, this.above, this.gap);
    this.paint(this.line, this.y, this.x, this.stepX);
    [this.line, this.above, this.filled] = [this.above, this.line, 0];
    this.y += this.stepY;
    if (this.y >= this.height) this.next();
  }
}

// In place; byte 0 is the filter, `gap` bytes make a pixel.
function unfilter(line, above, gap) {
  const filter = line[0];
  if (filter > 4) throw damaged();
  line[0] = 0;
  if (filter === 2) for (let i = 1; i < line.length; i++) line[i] += above[i];
  if (filter === 1) for (let i = 1 + gap; i < line.length; i++) line[i] += line[i - gap];
  if (filter === 3) for (let i = 1; i < line.length; i++) line[i] += ((i > gap ? line[i - gap] : 0) + above[i]) >> 1;
  if (filter === 4) {
    for (let i = 1; i < line.length; i++) line[i] += i > gap ? paeth(line[i - gap], above[i], above[i - gap]) : above[i];
  }
}

function paeth(left, above, corner) {
  const a = Math.abs(above - corner), b = Math.abs(left - corner), c = Math.abs(left + above - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

// A function that writes one line's samples into the image.
function painter({ width, depth, type, bits }, image, palette, bitDepth) {
  const levels = depth === 16 ? scale16(bitDepth) : null;
  const grey = 255 / (2 ** Math.min(depth, 8) - 1), channels = CHANNELS[type], isColour = type === 2 || type === 6;
  return (line, y, x, step) => {
    for (let i = 0, out = (y * width + x) * 3; x < width; x += step, i++, out += 3 * step) {
      for (let c = 0; c < 3; c++) {
        const k = i * channels + (isColour ? c : 0);
        let value;
        if (depth === 8) value = line[1 + k];
        else if (levels) value = levels[line[1 + 2 * k] * 256 + line[2 + 2 * k]];
        else value = (line[1 + ((i * bits) >> 3)] >> (8 - bits - ((i * bits) & 7))) & (2 ** bits - 1);
        image.data[out + c] = type === 3 ? palette[3 * value + c] : depth < 8 ? value * grey : value;
      }
    }
  };
}

// What every 16-bit value becomes: `bitDepth` is a number of bits, or a window "LOW-HIGH"; halves are rounded up.
function scale16(bitDepth) {
  const [low, high] = typeof bitDepth === "string" ? bitDepth.split("-").map(Number) : [0, 2 ** bitDepth - 1];
  const width = high - low;
  return Uint8Array.from({ length: 65536 }, (_, value) => {
    const above = Math.min(Math.max(value - low, 0), width);
    return Math.floor((above * 510 + width) / (2 * width));
  });
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes) {
  let value = -1;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
