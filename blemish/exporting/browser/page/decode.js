// A file or a camera's frame as RGB {width, height, data}, by the rules of Blemish's own decoder as far as a browser can.
import { Refusal } from "./errors.js";
import { oriented, orientationOf } from "./orientation.js";
import { decodePng } from "./png.js";

const MOST_PIXELS = 100_000_000, MOST_BYTES = 1 << 30;
const BAND_PIXELS = 1 << 21;
const RAW = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

export async function decode(blob, bitDepth) {
  if (blob.size === 0) throw new Refusal("is empty (0 bytes)");
  if (blob.size > MOST_BYTES) throw new Refusal("is larger than 1 GiB");
  const bytes = new Uint8Array(await blob.arrayBuffer()), kind = kindOf(bytes);
  if (kind === "PNG") {
    const { exif, ...image } = await decodePng(bytes, bitDepth, checkSize);
    return oriented(image, orientationOf(exif));
  }
  if (kind === "JPEG") checkJpeg(bytes);
  if (kind === "TIFF" || kind === "PDF") throw new Refusal(`is a ${kind} file, which browsers do not read; save it as PNG`);
  if (kind === null) throw new Refusal("is not an image that can be read (JPEG, PNG, WebP, BMP)");
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, RAW);
  } catch {
    throw new Refusal(`cannot be decoded: a damaged ${kind} file, or a kind that this browser does not know`);
  }
  return pixelsOf(bitmap);
}

// An ImageBitmap's pixels, read in bands since a canvas has a largest area; the bitmap is used up.
export function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  checkSize(width, height);
  const data = new Uint8Array(width * height * 3), rows = Math.max(1, Math.min(height, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  for (let top = 0, at = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    canvas.clearRect(0, 0, width, rows);
    canvas.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const { data: rgba } = canvas.getImageData(0, 0, width, count);
    for (let i = 0; i < rgba.length; i += 4) {
      if (rgba[i + 3] !== 255) throw new Refusal("has transparent pixels, whose colours browsers change; save it as PNG");
      data[at++] = rgba[i];
      data[at++] = rgba[i + 1];
      data[at++] = rgba[i + 2];
    }
  }
  bitmap.close();
  return { width, height, data };
}

function checkSize(width, height) {
  if (width < 1 || height < 1) throw new Refusal("has no pixels");
  if (width * height > MOST_PIXELS) {
    throw new Refusal(`has ${width}x${height} pixels, more than the ${MOST_PIXELS / 1e6} million that a page can take`);
  }
}

function kindOf(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 12));
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "PNG";
  if (text.startsWith("\xff\xd8\xff")) return "JPEG";
  if (text.startsWith("RIFF") && text.endsWith("WEBP")) return "WebP";
  if (text.startsWith("BM")) return "BMP";
  if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return "TIFF";
  return text.startsWith("%PDF-") ? "PDF" : null;
}

// Size before anything is decoded, and the end marker, without which browsers fill up with grey.
function checkJpeg(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 2; at + 9 < bytes.length; ) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0 || marker === 0xff || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) {
      at++;
      continue;
    }
    if (marker === 0xda) {
      if (!hasEnd(bytes, at)) break;
      return;
    }
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      checkSize(view.getUint16(at + 7), view.getUint16(at + 5));
    }
    at += 2 + view.getUint16(at + 2);
  }
  throw new Refusal("is cut short: the end of the JPEG data is missing");
}

function hasEnd(bytes, from) {
  for (let at = bytes.length - 2; at > from; at--) if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return true;
  return false;
}
