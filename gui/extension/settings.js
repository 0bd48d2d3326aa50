// What the extension remembers, and what is checked before it is used: shared by background, popup and options.

export const FIRST = { on: false, endpoint: "http://127.0.0.1:8765", token: "", origins: [] };
const LOOPBACK = ["127.0.0.1", "localhost"];
const MAX_ORIGINS = 50;

/** Only the extension's own pages may read the storage: the scripts beside a call page must not. */
export async function seal() {
  await chrome.storage.local.setAccessLevel?.({ accessLevel: "TRUSTED_CONTEXTS" });
}

export async function read() {
  return { ...FIRST, ...(await chrome.storage.local.get(Object.keys(FIRST))) };
}

/** An address as typed or as `unmask serve` prints it -> { endpoint, token }. Throws Error with a sentence. */
export function parseEndpoint(typed) {
  let address;
  try {
    address = new URL(typed.trim());
  } catch {
    throw new Error("This is not an address. Paste the one that unmask serve prints, such as http://127.0.0.1:8765.");
  }
  const local = address.protocol === "http:" && LOOPBACK.includes(address.hostname);
  if (!local && address.protocol !== "https:") {
    throw new Error("Pictures of a call go only to this computer (http://127.0.0.1) or over https. Paste the address that unmask serve prints.");
  }
  return { endpoint: address.origin, token: new URLSearchParams(address.hash.slice(1)).get("token") };
}

/** An origin that the user adds -> that origin. Throws Error with a sentence. */
export function parseOrigin(typed) {
  let address;
  try {
    address = new URL(typed.includes("://") ? typed.trim() : `https://${typed.trim()}`);
  } catch {
    throw new Error("This is not the address of a page. Write it as https://calls.example.org.");
  }
  const local = address.protocol === "http:" && LOOPBACK.includes(address.hostname);
  if (!address.hostname || address.hostname.includes("*") || (address.protocol !== "https:" && !local)) {
    throw new Error("Only single pages over https can be added. Write one as https://calls.example.org.");
  }
  return address.origin;
}

/** Firefox knows no ports in match patterns, so access is by host; `allowed` then looks at the whole origin. */
export function patternOf(origin) {
  const { protocol, hostname } = new URL(origin);
  return `${protocol}//${hostname}/*`;
}

/** The call pages that the extension knows from the start, as match patterns. */
export const builtIn = () => chrome.runtime.getManifest().content_scripts[0].matches;

function fits(pattern, url) {
  const [, scheme, host, path] = /^(https?):\/\/([^/]+)(\/.*)$/.exec(pattern);
  if (url.protocol !== `${scheme}:`) return false;
  const fitsHost = host.startsWith("*.") ? url.hostname === host.slice(2) || url.hostname.endsWith(host.slice(1)) : url.host === host;
  return fitsHost && url.pathname.startsWith(path.slice(0, -1));
}

/** Whether calls on the page at `address` may be published. */
export function allowed(address, origins) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return false;
  }
  return origins.includes(url.origin) || builtIn().some((pattern) => fits(pattern, url));
}

/** Host access that the user gave for `origins`; asks where it is not there yet. Call it in a click. */
export const requestAccess = (origins) => chrome.permissions.request({ origins: origins.map(patternOf) });

export async function addOrigin(origin) {
  const { origins } = await read();
  if (!origins.includes(origin)) await chrome.storage.local.set({ origins: [...origins, origin].slice(-MAX_ORIGINS) });
}

export async function removeOrigin(origin) {
  const { origins } = await read();
  const kept = origins.filter((one) => one !== origin);
  await chrome.storage.local.set({ origins: kept });
  if (kept.some((one) => patternOf(one) === patternOf(origin))) return;
  await chrome.permissions.remove({ origins: [patternOf(origin)] }).catch(() => {});
}
