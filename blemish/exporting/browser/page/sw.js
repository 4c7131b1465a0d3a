// Keeps the whole folder for use without a network, and isolates the page, so that the runtime may use several threads.
const VERSION = __VERSION__;
const FILES = __FILES__;
const CACHE = `blemish ${self.registration.scope} ${VERSION}`;
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'";

self.addEventListener("install", (event) => {
  event.waitUntil(keepAll());
});

// It begins once no tab has the older page any more: files of two exports must not meet.
async function keepAll() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((name) => new Request(name, { cache: "reload" })));
}

self.addEventListener("activate", (event) => {
  event.waitUntil(forgetOlder());
});

async function forgetOlder() {
  const prefix = `blemish ${self.registration.scope} `;
  const older = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== CACHE);
  await Promise.all(older.map((name) => caches.delete(name)));
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) event.respondWith(hand(event.request));
});

async function hand(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request.mode === "navigate" ? "./" : request, { ignoreSearch: true });
  const answer = kept ?? (await fetch(request));
  const headers = new Headers(answer.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  headers.set("Content-Security-Policy", POLICY);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
