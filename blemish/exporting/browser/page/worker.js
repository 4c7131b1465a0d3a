// Everything that takes time, off the page's own thread: load and verify the model, decode, run, judge.
import { calibrate } from "./calibration.js";
import { decode, pixelsOf } from "./decode.js";
import { Refusal } from "./errors.js";
import { Frame, largest } from "./frame.js";
import { fetchInfo, fetchListed } from "./model.js";
import { Network, preferGpu } from "./network.js";
import { findRegions } from "./regions.js";

const SHOWN = 1600; // pixels of the longer side of the picture that is shown
let frame, network, calibration, info;
let last = Promise.resolve();

async function load() {
  info = await fetchInfo();
  frame = new Frame(info.input);
  calibration = calibrate(info.calibration);
  const total = info.files["model.onnx"]?.bytes + info.files["runtime/ort-wasm-simd-threaded.wasm"]?.bytes;
  let come = 0;
  const onBytes = (count) => postMessage({ type: "progress", share: (come += count) / total });
  const model = await fetchListed(info, "model.onnx", onBytes);
  network = await Network.open(info, model, "wasm", onBytes);
  await network.trial().catch((error) => {
    throw new Refusal(`The model cannot be used. A grey or noisy image ${error.message}`);
  }); // the first run is slower, too
  const { threshold, pixelThreshold, rate, supportedRate, statement } = calibration;
  postMessage({ type: "ready", info: about(), threshold, pixelThreshold, rate, supportedRate, statement, backend: "wasm", threads: network.threads });
  last = last.then(async () => {
    const chosen = await preferGpu(network, info, model);
    network = chosen.network;
    postMessage({ type: "backend", backend: network.backend, threads: network.threads, note: chosen.note });
  });
}

// What the page shows of the model and draws with.
function about() {
  const { detector, data, input, created } = info;
  return { detector: detector.name, images: data.images, folder: data.folder, input, created };
}

async function inspect({ blob, bitmap, draw }) {
  const start = performance.now();
  const image = blob ? await decode(blob, info.input.bit_depth) : pixelsOf(bitmap);
  const decoded = performance.now();
  const { width, height } = image, scores = [], maps = [];
  const inputs = frame.inputs(image);
  let network_ms = 0;
  for (const pixels of inputs) {
    const begun = performance.now();
    const { score, map } = await network.run(pixels);
    scores.push(score);
    maps.push(map);
    network_ms += performance.now() - begun;
  }
  const { score, map } = frame.judge(scores, maps, width, height);
  const judged = performance.now();
  const { pixelThreshold } = calibration;
  const sample = frame.sampler(map, width, height, pixelThreshold);
  const regions = largest(map.values) > pixelThreshold ? findRegions(sample, width, height, pixelThreshold) : [];
  const timings = { read: decoded - start, resize: judged - decoded - network_ms, network: network_ms };
  return { width, height, score, pValue: calibration.pValue(score), regions, timings, picture: draw ? await picture(image, map) : null };
}

// What is shown, at most SHOWN pixels large: the image, and its map at the same size.
async function picture(image, map) {
  const scale = Math.min(1, SHOWN / Math.max(image.width, image.height));
  const width = Math.max(1, Math.round(image.width * scale)), height = Math.max(1, Math.round(image.height * scale));
  const sample = frame.sampler(map, image.width, image.height, calibration.pixelThreshold, width, height);
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) sample(y, values.subarray(y * width, (y + 1) * width));
  const bitmap = await createImageBitmap(rgba(image), { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" });
  return { width, height, values, bitmap };
}

function rgba({ width, height, data }) {
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let i = 0, from = 0; i < pixels.length; i += 4, from += 3) {
    pixels[i] = data[from];
    pixels[i + 1] = data[from + 1];
    pixels[i + 2] = data[from + 2];
    pixels[i + 3] = 255;
  }
  return new ImageData(pixels, width, height);
}

async function answer(message) {
  try {
    const result = await inspect(message);
    const moved = result.picture ? [result.picture.bitmap, result.picture.values.buffer] : [];
    postMessage({ type: "result", id: message.id, result }, moved);
  } catch (error) {
    postMessage({ type: "result", id: message.id, error: lineOf(error, "cannot be inspected") });
  }
}

function lineOf(error, otherwise) {
  if (error instanceof Refusal) return error.message;
  if (error instanceof RangeError) return "is too large for this browser's memory";
  return `${otherwise}: ${String(error?.message ?? error).split("\n")[0]}`;
}

// One at a time, in order.
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};

load().catch((error) => postMessage({ type: "failed", error: lineOf(error, "The model cannot be loaded") }));
