// A camera of this device: live, and one frame of it as a file.

const live = () => document.getElementById("live");

/** Open a camera, the one that looks away from the reader if there is a choice. */
export async function open(id) {
  close();
  const wanted = id ? { deviceId: { exact: id } } : { facingMode: { ideal: "environment" } };
  const size = { width: { ideal: 1920 }, height: { ideal: 1080 } };
  live().srcObject = await navigator.mediaDevices.getUserMedia({ video: { ...wanted, ...size } });
  await live().play();
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput");
}

export function close() {
  for (const track of live().srcObject?.getTracks() ?? []) track.stop();
  live().srcObject = null;
}

/** The frame of this moment, or the first one of a camera that opens, as a PNG: a camera's picture is not to be compressed a second time. */
export async function frame() {
  if (!live().videoWidth) await new Promise((resolve) => live().addEventListener("loadeddata", resolve, { once: true }));
  const { videoWidth: width, videoHeight: height } = live();
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(live(), 0, 0);
  const taken = new Date().toISOString().replace(/[:.]/g, "-");
  return new File([await canvas.convertToBlob({ type: "image/png" })], `camera ${taken}.png`, { type: "image/png" });
}
