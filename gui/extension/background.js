// Holds the pairing token and speaks HTTP with unmask: the WHIP exchange (RFC 9725) for the scripts beside call pages,
// and /api/status for the badge and the popup. It keeps nothing in memory, because browsers stop it when it is idle.

import { allowed, patternOf, read, seal } from "./settings.js";

const MAX_SDP_CHARS = 32 * 1024;
const MAX_ANSWER_CHARS = 64 * 1024;
const MAX_NAME_CHARS = 64;
const MAX_PEOPLE = 16;
const ANSWER_MS = 10000;
const STATUS_EVERY_MS = 1500;
const BLUE = "#1f5f9e";
const RED = "#b3101a";
const GREY = "#5b6570";

const REFUSED = {
  401: "unmask does not know this pairing token. Paste the address that unmask serve prints into the options.",
  403: "unmask does not accept this extension. Restart unmask serve with the newest version.",
  429: "unmask was asked too often; it is tried again.",
  503: "unmask takes no more pictures at the moment; it is tried again.",
};
const SILENT = "unmask does not answer. Start it with: unmask serve.";

// ------------------------------------------------------------------------------------------------ HTTP

async function call(path, settings, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${settings.token}` };
  const signal = AbortSignal.timeout(ANSWER_MS);
  return fetch(settings.endpoint + path, { cache: "no-store", credentials: "omit", redirect: "error", signal, ...options, headers });
}

/** Headers carry ASCII only. */
function namesHeader(name) {
  return JSON.stringify([name]).replace(/[^\x20-\x7e]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** What unmask calls the participant: two of one name are told apart there. */
function givenName(response) {
  try {
    const [name] = JSON.parse(response.headers.get("X-Unmask-Names"));
    return typeof name === "string" ? name.slice(0, MAX_NAME_CHARS) : null;
  } catch {
    return null;
  }
}

async function offer({ sdp, name }) {
  const settings = await read();
  if (!settings.on) return { trouble: "unmask is switched off." };
  if (!settings.token) return { trouble: REFUSED[401] };
  if (typeof sdp !== "string" || !sdp.startsWith("v=0") || sdp.length > MAX_SDP_CHARS) return { trouble: "This page gave no usable offer." };
  const headers = { "Content-Type": "application/sdp", "X-Unmask-Names": namesHeader(String(name).slice(0, MAX_NAME_CHARS)) };
  let response;
  try {
    response = await call("/whip/call", settings, { method: "POST", headers, body: sdp });
  } catch {
    return { trouble: SILENT };
  }
  if (response.status !== 201) return { trouble: REFUSED[response.status] ?? `unmask refused with status ${response.status}.` };
  const answer = await response.text();
  const location = new URL(response.headers.get("Location") ?? "/", response.url);
  const resource = location.origin === settings.endpoint ? location.pathname : null;
  const given = givenName(response) ?? String(name).slice(0, MAX_NAME_CHARS);
  return answer.length <= MAX_ANSWER_CHARS ? { answer, resource, given } : { resource, trouble: "unmask gave an answer that is too long." };
}

async function end({ resource }) {
  const settings = await read();
  if (typeof resource !== "string" || !/^\/[\w./~-]{1,300}$/.test(resource)) return {};
  await call(resource, settings, { method: "DELETE" }).catch(() => {});
  return {};
}

/** The newest verdicts, asked for at most every 1.5 s: { people, trouble }. */
async function status() {
  const settings = await read();
  const { status: last } = await chrome.storage.session.get("status");
  if (last && Math.abs(Date.now() - last.asked) < STATUS_EVERY_MS && last.endpoint === settings.endpoint) return last;
  const fresh = { asked: Date.now(), endpoint: settings.endpoint, sources: [], trouble: null };
  try {
    const response = await call("/api/status", settings);
    if (response.ok) fresh.sources = (await response.json()).slice(0, MAX_PEOPLE).map(source);
    else fresh.trouble = REFUSED[response.status] ?? `unmask refused with status ${response.status}.`;
  } catch {
    fresh.trouble = SILENT;
  }
  await chrome.storage.session.set({ status: fresh });
  return fresh;
}

const ORDER = ["SUSPECT", "UNCERTAIN", "NO_SIGN", "CANNOT_TELL", "WARMING_UP"];

/** What is shown of one source: the most suspicious person in it leads. */
function source(document) {
  const people = (Array.isArray(document.people) ? document.people : []).filter((one) => ORDER.includes(one.state));
  people.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const [first] = people;
  const suspicion = Number.isFinite(first?.suspicion) ? first.suspicion : null;
  const shed = typeof document.shed === "string" ? document.shed.slice(0, 200) : null;
  return { name: String(document.source).slice(0, MAX_NAME_CHARS), state: first?.state ?? "CANNOT_TELL", suspicion, reason: first?.reasons?.[0] ?? (first ? null : "no-face"), shed };
}

// ------------------------------------------------------------------------------------------------ call pages

/** A call page tells what it sends, and hears whether it still should. */
async function tick(message, sender) {
  const settings = await read();
  const people = (Array.isArray(message.people) ? message.people : []).slice(0, MAX_PEOPLE).map((one) => ({ name: String(one.name).slice(0, MAX_NAME_CHARS), state: String(one.state).slice(0, 20) }));
  const trouble = typeof message.trouble === "string" ? message.trouble.slice(0, 300) : null;
  const key = `tab:${sender.tab.id}:${sender.frameId}`;
  if (people.length) await chrome.storage.session.set({ [key]: { people, trouble, at: Date.now() } });
  else await chrome.storage.session.remove(key);
  await badge(sender.tab.id, settings, people, trouble);
  return { on: settings.on && Boolean(settings.token) };
}

async function badge(tabId, settings, people, trouble) {
  const sent = people.filter((one) => one.state === "sent").length;
  const look = !settings.on || !people.length ? ["", GREY] : trouble ? ["!", GREY] : [String(sent), BLUE];
  if (sent && settings.on) {
    const { sources } = await status();
    const ours = (one) => people.some((person) => person.state === "sent" && person.name === one.name);
    if (sources.some((one) => one.state === "SUSPECT" && ours(one))) look.splice(0, 2, "!", RED);
  }
  try {
    await chrome.action.setBadgeText({ tabId, text: look[0] });
    await chrome.action.setBadgeBackgroundColor({ tabId, color: look[1] });
    await chrome.action.setBadgeTextColor?.({ tabId, color: "#ffffff" });
  } catch {
    // The tab has gone meanwhile.
  }
}

/** The scripts for the origins that the user added; those of the manifest are always there. */
async function register() {
  const { origins } = await read();
  const kept = [];
  for (const pattern of new Set(origins.map(patternOf))) {
    if (await chrome.permissions.contains({ origins: [pattern] })) kept.push(pattern);
  }
  await chrome.scripting.unregisterContentScripts({ ids: ["hook", "publish"] }).catch(() => {});
  if (!kept.length) return;
  const common = { matches: kept, runAt: "document_start", allFrames: true, persistAcrossSessions: true };
  await chrome.scripting.registerContentScripts([
    { ...common, id: "hook", js: ["hook.js"], world: "MAIN" },
    { ...common, id: "publish", js: ["names.js", "publish.js"] },
  ]);
}

async function tellPages() {
  const { on, token } = await read();
  for (const tab of await chrome.tabs.query({})) {
    chrome.tabs.sendMessage(tab.id, { kind: "switch", on: on && Boolean(token) }).catch(() => {});
    if (!on) chrome.action.setBadgeText({ tabId: tab.id, text: "" }).catch(() => {});
  }
}

// ------------------------------------------------------------------------------------------------ who may ask

/** Scripts beside pages on the allow-list, with what each kind of message does. One whose page was taken off it meanwhile may only end. */
const FOR_CALLS = { offer, end, tick };

async function fromCall(message, sender) {
  const { origins } = await read();
  if (message.kind === "end" || allowed(sender.url, origins)) return FOR_CALLS[message.kind](message, sender);
  if (message.kind === "tick") await tick({ people: [] }, sender);
  return { on: false, trouble: "This page is not on the list of call pages any more." };
}

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  if (sender.id !== chrome.runtime.id || typeof message?.kind !== "string") return false;
  const own = sender.url?.startsWith(chrome.runtime.getURL("")) === true;
  const work =
    own && message.kind === "status" ? status()
    : !own && sender.tab && Object.hasOwn(FOR_CALLS, message.kind) ? fromCall(message, sender)
    : null;
  if (!work) return false;
  work.then(answer, () => answer(null));
  return true;
});

chrome.storage.onChanged.addListener((changes, area) => {
  if (area !== "local") return;
  if (changes.origins) register();
  if (changes.on || changes.token || changes.endpoint) chrome.storage.session.remove("status");
  if (changes.on || changes.token) tellPages();
});
chrome.tabs.onRemoved.addListener(async (tabId) => {
  const all = await chrome.storage.session.get(null);
  await chrome.storage.session.remove(Object.keys(all).filter((key) => key.startsWith(`tab:${tabId}:`)));
});
chrome.permissions.onAdded.addListener(register);
chrome.permissions.onRemoved.addListener(register);
chrome.runtime.onInstalled.addListener(({ reason }) => {
  register();
  if (reason === "install") chrome.runtime.openOptionsPage();
});
chrome.runtime.onStartup.addListener(register);
seal();
