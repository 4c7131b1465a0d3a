// The page's end of the worker.

export class Inspector {
  onProgress = () => {};
  onBackend = () => {};

  constructor() {
    this.waiting = new Map();
    this.worker = new Worker("worker.js", { type: "module" });
    this.ready = new Promise((settle, refuse) => {
      this.worker.onmessage = ({ data }) => this.take(data, settle, refuse);
      this.worker.onerror = (event) => refuse(new Error(`The page is incomplete: ${event.message || "a file of it cannot be loaded"}. Copy the whole exported folder.`));
    });
  }

  // {width, height, score, pValue, regions, timings, picture} or {error} of {blob} or {bitmap}, with `draw` for a picture.
  inspect({ blob, bitmap, draw }) {
    const id = crypto.getRandomValues(new Uint32Array(1))[0];
    return new Promise((settle) => {
      this.waiting.set(id, settle);
      this.worker.postMessage({ id, blob, bitmap, draw }, bitmap ? [bitmap] : []);
    });
  }

  take(data, settle, refuse) {
    if (data.type === "progress") this.onProgress(data.share);
    if (data.type === "failed") refuse(new Error(data.error));
    if (data.type === "backend") this.onBackend(data);
    if (data.type === "ready") {
      this.onBackend(data);
      settle(data);
    }
    if (data.type === "result") {
      this.waiting.get(data.id)(data.error ? { error: data.error } : data.result);
      this.waiting.delete(data.id);
    }
  }
}
