// Draws verdicts and facts into the page. Everything that comes from outside is set as text, never as markup.

import { capital, explain, lead, percent } from "./verdict.js";

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function mark(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `mark ${state}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#mark-${state}`);
  svg.append(use);
  return svg;
}

/** What is spoken when it changes; the score alone never speaks. */
let spoken = "";
function speak(sentence) {
  if (sentence === spoken) return;
  spoken = sentence;
  $("spoken").textContent = sentence;
}

function headline(state, title, detail) {
  const words = element("div");
  words.append(element("strong", "", title), element("p", "", detail));
  $("headline").className = `headline ${state}`;
  $("headline").replaceChildren(mark(state), words);
}

function row(words, person, alone) {
  const item = element("li");
  item.dataset.state = person.state;
  const title = element("div");
  const { short } = words.states[person.state];
  title.append(element("strong", "", alone ? "The person in view" : `Person ${person.id}`), ` ${short}`);
  const score = element("span", "score", percent(person.suspicion));
  score.title = "suspicion";
  score.setAttribute("aria-label", person.suspicion === null ? "no score" : `suspicion ${percent(person.suspicion)}`);
  score.setAttribute("role", "img");
  item.append(mark(person.state), title, score);
  const { why, advice } = explain(words, person.reasons);
  if (!alone && person.state === "CANNOT_TELL" && why) item.append(element("p", "", `${capital(why)}. ${advice}`));
  return item;
}

function outline(words, person, alone) {
  const [x0, y0, x1, y1] = person.box;
  const box = element("div", `box ${person.state}`);
  Object.assign(box.style, { left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
  const { short } = words.states[person.state];
  box.append(element("span", "", alone ? short : `Person ${person.id}: ${short}`));
  return box;
}

/** Show one parsed verdict document. */
export function showVerdict(words, { people, notices, starting }) {
  const { state, title, detail } = lead(words, people, starting);
  headline(state, title, detail);
  $("notice").hidden = !notices.length;
  $("notice").textContent = notices.join(" ");
  $("people").replaceChildren(...people.map((one) => row(words, one, people.length === 1)));
  $("boxes").replaceChildren(...people.filter((one) => one.box).map((one) => outline(words, one, people.length === 1)));
  speak(state === "CANNOT_TELL" ? `${title}. ${detail}` : `${title}.`);
}

/** Nothing fresh is known: an old score must not stay on the screen. */
export function showWaiting(words, detail) {
  headline("WARMING_UP", words.states.WARMING_UP.headline, detail);
  $("notice").hidden = true;
  $("people").replaceChildren();
  $("boxes").replaceChildren();
}

/** Facts as [term, text] pairs. */
export function showFacts(facts) {
  $("facts").replaceChildren(...facts.flatMap(([term, content]) => [element("dt", "", term), element("dd", "", content)]));
}

export function showTrouble(sentence) {
  $("trouble").hidden = !sentence;
  $("trouble").textContent = sentence ?? "";
}

/** The form while nothing is sent, while it connects, and while it is live. */
export function showStage(stage) {
  const live = stage === "live";
  $("toggle").textContent = stage === "idle" ? "Start" : "Stop";
  $("toggle").classList.toggle("stop", stage !== "idle");
  $("progress").textContent = { idle: "", asking: "Waiting for the browser's permission", joining: "Connecting to unmask", live: "The monitor sees this picture" }[stage];
  $("live").hidden = !live;
  document.querySelector("main").classList.toggle("live", live);
  if (live || stage === "idle") $("told").open = !live;
  for (const field of document.querySelectorAll("input[name=kind], #name, #token")) field.disabled = stage !== "idle";
  if (!live) speak("");
}
