// Registers the worker that keeps the page; once it is there, one reload isolates the page, which threads need.

// True where the page is kept; never returns where it reloads, and throws where the browser does not want it. Without a secure origin there is nothing to keep with.
export async function keepForOffline(say) {
  if (!("serviceWorker" in navigator) || !isSecureContext) return false;
  const registration = await navigator.serviceWorker.register("sw.js");
  if (!registration.active) say("Storing everything on this device …");
  if (!(await isActive(registration))) return false;
  if (!crossOriginIsolated && takeFirstTry()) {
    location.reload();
    await new Promise(() => {});
  }
  return true;
}

async function isActive(registration) {
  if (registration.active) return true;
  const worker = registration.installing ?? registration.waiting;
  return new Promise((settle) => {
    const look = () => {
      if (worker.state === "activated") settle(true);
      if (worker.state === "redundant") settle(false);
    };
    worker.addEventListener("statechange", look);
    look();
  });
}

// Once for each tab: where reloading does not isolate, it must not go on for ever.
function takeFirstTry() {
  try {
    if (sessionStorage.getItem("reloaded")) return false;
    sessionStorage.setItem("reloaded", "yes");
    return true;
  } catch {
    return false;
  }
}
