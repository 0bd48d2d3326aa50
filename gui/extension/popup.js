// The toolbar's popup: one glance says whether calls are watched, who is sent, and what unmask says of each.

import { addOrigin, allowed, parseOrigin, read, requestAccess } from "./settings.js";

const EVERY_MS = 1500;
const OLD_MS = 6000;
const SIGN = { NO_SIGN: "✓", UNCERTAIN: "?", SUSPECT: "!", CANNOT_TELL: "–", WARMING_UP: "…" };
const $ = (id) => document.getElementById(id);
const words = await (await fetch("words.json")).json();

function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = content ?? "";
  return made;
}

function headline(state, title, detail) {
  $("headline").className = `headline ${state}`;
  if ($("headline").textContent === title + detail) return;
  $("headline").replaceChildren(element("strong", "", title), element("p", "", detail));
}

const percent = (share) => (share === null ? "–" : share < 0.01 ? "<1 %" : share > 0.99 ? ">99 %" : `${Math.round(100 * share)} %`);

/** A participant, with what unmask says where it says something under that name. */
function row(person, source) {
  const item = element("li");
  const judged = person.state === "sent" ? source : undefined;
  const state = judged?.state ?? "WARMING_UP";
  const mark = element("span", `mark ${judged && SIGN[state] ? state : "none"}`, judged ? SIGN[state] : "");
  mark.setAttribute("aria-hidden", "true");
  const title = element("span");
  const short = judged ? words.states[state].short : { sent: words.states.WARMING_UP.short, starting: "Starting", trouble: "Not sent" }[person.state] ?? "No picture";
  title.append(element("strong", "", person.name), ` ${short}`);
  item.append(mark, title, element("span", "score", percent(judged?.suspicion ?? null)));
  const reason = words.reasons[judged?.reason];
  if (judged?.shed) item.append(element("p", "", judged.shed));
  else if (state === "CANNOT_TELL" && reason) item.append(element("p", "", `${reason.text[0].toUpperCase()}${reason.text.slice(1)}. ${reason.advice}`));
  return item;
}

async function reportsOf(tab) {
  const all = await chrome.storage.session.get(null);
  return Object.entries(all).filter(([key, one]) => tab && key.startsWith(`tab:${tab.id}:`) && Date.now() - one.at < OLD_MS).map(([, one]) => one);
}

function summary(settings, reports, status, here) {
  if (!settings.token) return ["", "Not paired yet", "Open the options, and paste the address that unmask serve prints."];
  if (!settings.on) return ["", "Off", "No picture of any call is sent."];
  const trouble = status.trouble ?? reports.map((one) => one.trouble).find(Boolean);
  if (trouble) return ["", "Not watching", trouble];
  const people = reports.flatMap((one) => one.people);
  const sent = people.filter((one) => one.state === "sent");
  const of = (state) => status.sources.filter((one) => one.state === state && sent.some((person) => person.name === one.name));
  if (of("SUSPECT").length) return ["SUSPECT", words.states.SUSPECT.headline, `${of("SUSPECT").map((one) => one.name).join(", ")}. Check in another way before acting on it.`];
  if (sent.length) return ["", sent.length === 1 ? "Watching 1 person" : `Watching ${sent.length} people`, "Their pictures go to unmask, and nowhere else."];
  if (people.length) return ["", "Waiting for pictures", "There is a call, and nobody's camera is seen yet."];
  return ["", "On", here ? "No call in this tab." : "Calls on this page are not watched."];
}

async function draw() {
  const settings = await read();
  const [tab] = await chrome.tabs.query({ active: true, currentWindow: true });
  const reports = await reportsOf(tab);
  const asked = settings.on && settings.token ? await chrome.runtime.sendMessage({ kind: "status" }) : null;
  const status = asked ?? { sources: [], trouble: null };
  const web = /^https?:/.test(tab?.url ?? "");
  const here = !web || allowed(tab.url, settings.origins);
  headline(...summary(settings, reports, status, here));
  $("switch").setAttribute("aria-checked", String(settings.on));
  $("switch").disabled = !settings.token;
  $("people").replaceChildren(...reports.flatMap((one) => one.people).map((one) => row(one, status.sources.find((source) => source.name === one.name))));
  $("site").hidden = here;
  if (!here) $("add").textContent = `Watch calls on ${new URL(tab.url).hostname}`;
  $("where").textContent = settings.token ? `unmask at ${new URL(settings.endpoint).host}` : "";
}

$("switch").addEventListener("click", async () => {
  const { on } = await read();
  await chrome.storage.local.set({ on: !on });
  await draw();
});
$("options").addEventListener("click", () => chrome.runtime.openOptionsPage());
$("add").addEventListener("click", async () => {
  const [tab] = await chrome.tabs.query({ active: true, currentWindow: true });
  try {
    const origin = parseOrigin(new URL(tab.url).origin);
    if (await requestAccess([origin])) await addOrigin(origin);
  } catch (error) {
    headline("", "This page cannot be added", error.message);
    return;
  }
  await draw();
});
await draw();
setInterval(draw, EVERY_MS);
