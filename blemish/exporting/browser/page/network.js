// The network in onnxruntime-web: on the processor, or on the graphics processor once that has given the same results.
import { Refusal } from "./errors.js";
import { largest } from "./frame.js";
import { fetchListed } from "./model.js";

const TOLERANCE = 1e-3; // of the largest value
const TRIALS = 3;
const isNumber = (value) => Math.abs(value) <= 1e30; // sums over an image are finite then; false for NaN
const BUILDS = {
  wasm: { module: "ort.wasm.min.mjs", binary: "ort-wasm-simd-threaded" },
  webgpu: { module: "ort.webgpu.min.mjs", binary: "ort-wasm-simd-threaded.asyncify" },
};

export class Network {
  // `backend` is wasm or webgpu; `onBytes` is told how much of the runtime has come.
  static async open(info, model, backend, onBytes = () => {}) {
    const { module, binary } = BUILDS[backend];
    const own = new URL("runtime/", self.location.href).href;
    const wasmBinary = await fetchListed(info, `runtime/${binary}.wasm`, onBytes);
    let ort, session;
    try {
      ort = await import(own + module);
      ort.env.logLevel = "error";
      ort.env.wasm.wasmBinary = wasmBinary.buffer;
      ort.env.wasm.wasmPaths = { mjs: `${own}${binary}.mjs` };
      ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
      session = await ort.InferenceSession.create(model, { executionProviders: [backend], graphOptimizationLevel: "all" });
    } catch (error) {
      throw new Refusal(`The model cannot be started: ${String(error?.message ?? error).split("\n")[0]}`);
    }
    return new Network(ort, session, info, backend);
  }

  constructor(ort, session, { input, output }, backend) {
    Object.assign(this, { ort, session, backend, threads: ort.env.wasm.numThreads });
    this.shape = [1, input.height, input.width, 3];
    this.grid = { rows: output.map_height, columns: output.map_width };
  }

  // {score, map: {rows, columns, values}} of the pixels of one input; refused unless they are finite numbers.
  async run(pixels) {
    const image = new this.ort.Tensor("uint8", pixels, this.shape);
    const { score, anomaly_map: map } = await this.session.run({ image });
    const result = { score: (await score.getData())[0], map: { ...this.grid, values: Float32Array.from(await map.getData()) } };
    for (const tensor of [image, score, map]) tensor.dispose();
    const { values, rows, columns } = result.map;
    if (values.length !== rows * columns) throw new Refusal(`gets no verdict: the model gives an anomaly map of ${values.length} cells, not ${rows}x${columns}`);
    if (!isNumber(result.score)) throw new Refusal(`gets no verdict: the model gives a score that is not a finite number up to 1e30 (${result.score})`);
    if (!values.every(isNumber)) throw new Refusal("gets no verdict: the model gives an anomaly map whose values are not all finite numbers up to 1e30");
    return result;
  }

  // Median milliseconds for one input, and the results for those that are compared; a grey one is tried before.
  async trial() {
    const results = [], times = [], size = this.shape[1] * this.shape[2] * 3;
    await this.run(new Uint8Array(size).fill(128));
    for (let seed = 0; seed < TRIALS; seed++) {
      const pixels = noise(size, seed), start = performance.now();
      results.push(await this.run(pixels));
      times.push(performance.now() - start);
    }
    return { results, ms: times.sort((a, b) => a - b)[TRIALS >> 1] };
  }

  async close() {
    await this.session.release();
  }
}

// The network that is faster, the graphics processor only if it gives the processor's scores and maps; and what to say of it.
export async function preferGpu(wasm, info, model) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return { network: wasm, note: "" };
  let gpu;
  try {
    gpu = await Network.open(info, model, "webgpu");
    const [here, there] = [await wasm.trial(), await gpu.trial()];
    const difference = Math.max(...here.results.map((result, i) => differ(result, there.results[i])));
    if (difference < TOLERANCE && there.ms < here.ms) {
      await wasm.close();
      return { network: gpu, note: `checked against the processor, ${(here.ms / there.ms).toFixed(1)} times as fast` };
    }
    await gpu.close();
    const why = difference < TOLERANCE ? "is not faster" : `gives other scores (by ${(100 * difference).toPrecision(2)} %)`;
    return { network: wasm, note: `the graphics processor ${why}` };
  } catch {
    return { network: wasm, note: "the graphics processor cannot run this model" };
  }
}

// The largest difference of score and map, relative to the largest value.
function differ(one, other) {
  const unit = Math.max(Math.abs(one.score), largest(one.map.values.map(Math.abs)), 1e-12);
  const maps = largest(one.map.values.map((value, i) => Math.abs(value - other.map.values[i])));
  const difference = Math.max(Math.abs(one.score - other.score), maps) / unit;
  return Number.isNaN(difference) ? Infinity : difference;
}

// Pixels with slow and fast changes, the same on every machine.
function noise(count, seed) {
  let state = 12345 + seed;
  return Uint8Array.from({ length: count }, (_, i) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return 128 + 80 * Math.sin(i / (900 + 400 * seed)) + (state >>> 27);
  });
}
