// Keeps the page of each visited room, for times without a connection.

const base = new URL(registration.scope).pathname.replace(/\/$/, "");

/** How many pages and assets are kept. */
const MOST = { pages: 20, assets: 8 };

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname.startsWith(`${base}/-/assets/`)) event.respondWith(asset(event, pathname));
  else if (request.mode === "navigate" && !pathname.startsWith(`${base}/-/`)) event.respondWith(page(event, pathname));
});

async function page(event, pathname) {
  try {
    const response = await fetch(event.request);
    const isPage = response.ok && !response.redirected && response.headers.get("content-type")?.startsWith("text/html");
    // The page is drawn meanwhile.
    if (isPage) event.waitUntil(keep("pages", pathname, response.clone()));
    // A proxy answers so while its server starts again.
    const isAway = response.status >= 502 && response.status <= 504;
    return (isAway && (await find("pages", pathname))) || response;
  } catch (error) {
    const kept = await find("pages", pathname);
    if (kept) return kept;
    throw error;
  }
}

/** An asset's name says its content, so a kept one is never old. */
async function asset(event, pathname) {
  const kept = await find("assets", pathname);
  if (kept) return kept;
  const response = await fetch(event.request);
  if (response.ok) event.waitUntil(keep("assets", pathname, response.clone()));
  return response;
}

function open(kind) {
  return caches.open(`${kind} ${base}`);
}

/** The kept response; none if the browser cannot read it. */
async function find(kind, pathname) {
  try {
    const cache = await open(kind);
    return await cache.match(pathname, { ignoreVary: true });
  } catch {
    return undefined;
  }
}

async function keep(kind, pathname, response) {
  try {
    const cache = await open(kind);
    await cache.put(pathname, response);
    const keys = await cache.keys();
    await Promise.all(keys.slice(0, -MOST[kind]).map((key) => cache.delete(key)));
  } catch {
    // The browser has no room: the page works with a connection only.
  }
}
