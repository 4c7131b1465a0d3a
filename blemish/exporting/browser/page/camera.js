// The camera: one frame at a time, or live, each frame as soon as the one before is done.

const at = (id) => document.getElementById(id);
const WANTED = { width: { ideal: 1920 }, height: { ideal: 1080 } };

export class Camera {
  constructor(inspector, { onFrame, onLive, onTrouble }) {
    Object.assign(this, { inspector, onFrame, onLive, onTrouble, stream: null, isLive: false, taken: 0 });
    at("camera-open").addEventListener("click", () => this.open());
    at("camera-close").addEventListener("click", () => this.close());
    at("camera-inspect").addEventListener("click", () => this.inspectOne());
    at("camera-live").addEventListener("click", () => this.setLive(!this.isLive));
    at("camera-choice").addEventListener("change", (event) => this.open(event.target.value));
  }

  async open(device) {
    if (!navigator.mediaDevices) return this.onTrouble("Browsers open cameras only on https pages and on localhost.");
    this.stop();
    try {
      const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...which } });
    } catch (error) {
      at("camera").hidden = true;
      return this.onTrouble(reasonOf(error));
    }
    this.stream.getVideoTracks()[0].addEventListener("ended", () => {
      this.close();
      this.onTrouble("The camera has gone; connect it and open it again.");
    });
    at("video").srcObject = this.stream;
    await at("video").play(); // before that there is no frame to inspect
    at("camera").hidden = false;
    await this.listCameras();
  }

  async listCameras() {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const current = this.stream?.getVideoTracks()[0].getSettings().deviceId;
    const options = cameras.map(({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId, false, deviceId === current));
    at("camera-choice").replaceChildren(...options);
    at("camera-choice").hidden = cameras.length < 2;
  }

  stop() {
    this.setLive(false);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  close() {
    this.stop();
    at("video").srcObject = null;
    at("camera").hidden = true;
  }

  async frame() {
    const bitmap = await createImageBitmap(at("video"), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    return this.inspector.inspect({ bitmap, draw: true });
  }

  // Kept as PNG, which loses nothing, so that it can be looked at again.
  async inspectOne() {
    this.setLive(false);
    const video = at("video"), canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/png" });
    this.onFrame({ name: `frame ${++this.taken}`, blob, ...(await this.inspector.inspect({ blob, draw: true })) });
  }

  setLive(isLive) {
    const begins = isLive && !this.isLive;
    this.isLive = isLive;
    at("camera-live").setAttribute("aria-pressed", isLive);
    if (begins) this.goOn();
  }

  async goOn() {
    while (this.isLive) {
      const result = await this.frame().catch((error) => ({ error: error.message }));
      if (!this.isLive) return;
      this.onLive({ name: "Live", ...result });
      if (result.error) return this.setLive(false);
    }
  }
}

function reasonOf(error) {
  if (error.name === "NotAllowedError") return "The camera was not allowed; allow it in the browser's settings for this page.";
  if (error.name === "NotFoundError" || error.name === "OverconstrainedError") return "There is no camera.";
  return `The camera cannot be opened: ${error.message}`;
}
