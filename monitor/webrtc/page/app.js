// The page at unmask's endpoint: choose a camera, publish it to the server that served this page, show what comes back.

import { Cadence } from "./cadence.js";
import { parse } from "./verdict.js";
import { showFacts, showStage, showTrouble, showVerdict, showWaiting } from "./view.js";
import { Publication, Refusal } from "./publication.js";

const ENDPOINT = new URL("whip/page", location.href).href;
const REPORT_MS = 5000;
const STALE_MS = 5000;
const TICK_MS = 1000;
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const $ = (id) => document.getElementById(id);

let token = "";
let words = null;
let session = null;

/** The pairing token comes after the '#', which browsers send to nobody; it goes from the address bar at once. */
function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (found) token = found;
  $("token-field").hidden = Boolean(token);
}

function sayWhere() {
  $("where").textContent = `at ${location.host}`;
  if (LOOPBACK.test(location.hostname)) return;
  $("to-picture").textContent = `unmask on ${location.hostname}, another computer`;
  $("nobody").textContent = `Nothing goes anywhere but to ${location.hostname}.`;
}

const CAPTURE_TROUBLE = {
  NotAllowedError: "The browser may not use it. Allow it beside the address bar, or in the system's settings, then press Start.",
  NotFoundError: "There is no such camera. Plug one in, or choose another, then press Start.",
  OverconstrainedError: "This camera is not there any more. Choose another, then press Start.",
  NotReadableError: "Another program is using this camera. Close it there, then press Start.",
  AbortError: "Another program is using this camera. Close it there, then press Start.",
};

async function capture(kind) {
  const devices = navigator.mediaDevices;
  if (!devices) throw new Refusal("Browsers give cameras only to pages on this computer or over https. Open the address that unmask serve prints.");
  try {
    if (kind === "screen") return await devices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false });
    const id = $("camera").value;
    const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    return await devices.getUserMedia({ video: id ? { ...size, deviceId: { exact: id } } : size, audio: false });
  } catch (error) {
    throw new Refusal(CAPTURE_TROUBLE[error.name] ?? `The browser could not open it: ${error.message}`);
  }
}

/** Camera names are known only once a camera was allowed. */
async function listCameras(chosen) {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const cameras = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  if (!cameras.length) return;
  const options = cameras.map((camera, at) => new Option(camera.label || `Camera ${at + 1}`, camera.deviceId));
  const wanted = chosen ?? $("camera").value;
  $("camera").replaceChildren(...options);
  if (cameras.some((camera) => camera.deviceId === wanted)) $("camera").value = wanted;
}

/** One press of Start: from the camera to the verdicts, until Stop. */
class Session {
  constructor() {
    this.kind = document.querySelector("input[name=kind]:checked").value;
    this.stream = null;
    this.heard_ms = null;
    this.quality = {};
    this.reported_ms = -Infinity;
    this.over = false;
  }

  async start() {
    showTrouble(null);
    showStage("asking");
    try {
      const stream = await capture(this.kind);
      if (this.over) return stopTracks(stream);
      this.show(stream);
      showStage("joining");
      this.publication = new Publication({
        onmessage: (message) => this.hear(message),
        onopen: () => this.tick(),
        onlost: () => this.end("The connection to unmask was lost. Check that unmask serve is running, then start again."),
      });
      await this.publication.start(stream, ENDPOINT, { token, name: $("name").value.trim() });
      if (this.over) return undefined;
      showStage("live");
      showWaiting(words, words.states.WARMING_UP.meaning);
      this.timer = setInterval(() => this.tick(), TICK_MS);
      if (this.kind === "camera") await listCameras(this.track().getSettings().deviceId);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error(error);
      this.end(error instanceof Refusal ? error.message : "Something went wrong in this page. Reload it, then start again.");
      if (error instanceof Refusal && error.message.includes("token")) $("token-field").hidden = false;
    }
    return undefined;
  }

  show(stream) {
    this.cadence?.stop();
    this.stream = stream;
    $("preview").srcObject = stream;
    this.cadence = new Cadence($("preview"));
    this.reported_ms = -Infinity;
    this.track().addEventListener("ended", () => {
      if (this.stream === stream) this.end(this.kind === "screen" ? null : "The camera stopped giving pictures. Plug it in again, then press Start.");
    });
  }

  track() {
    return this.stream.getVideoTracks()[0];
  }

  /** Another camera in the middle: the session goes on. */
  async change() {
    if (this.kind !== "camera" || !this.publication?.sender) return;
    const before = this.stream;
    try {
      const stream = await capture("camera");
      if (this.over) return void stopTracks(stream);
      await this.publication.sender.replaceTrack(stream.getVideoTracks()[0]);
      this.show(stream);
      stopTracks(before);
    } catch (error) {
      this.end(error instanceof Refusal ? error.message : "This camera cannot be shown in the place of the other. Press Start.");
    }
  }

  hear(message) {
    const verdict = parse(message);
    if (!verdict || this.over) return;
    this.heard_ms = performance.now();
    this.quality = verdict.quality;
    showVerdict(words, verdict);
  }

  tick() {
    if (this.over) return;
    const now = performance.now();
    if (this.heard_ms !== null && now - this.heard_ms > STALE_MS) {
      this.heard_ms = null;
      showWaiting(words, "No fresh reading has come for five seconds.");
    }
    const settings = this.track().getSettings();
    const regular = this.cadence.read();
    showFacts(this.facts(settings, regular));
    if (now - this.reported_ms < REPORT_MS || !this.publication?.channel || this.publication.channel.readyState !== "open") return;
    this.reported_ms = now;
    this.publication.report({
      schema: "unmask.device/1",
      label: this.track().label.slice(0, 200),
      kind: this.kind,
      width: settings.width ?? null,
      height: settings.height ?? null,
      frame_rate: rounded(regular?.rate_hz ?? settings.frameRate, 2),
      timing_cv: rounded(regular?.cv, 4),
    });
  }

  facts(settings, regular) {
    const facts = [[this.kind === "screen" ? "Screen" : "Camera", this.track().label || "without a name"]];
    if (settings.width) facts.push(["Size", `${settings.width} × ${settings.height}`]);
    if (regular) facts.push(["Pictures", `${regular.rate_hz.toFixed(1)} a second, intervals vary by ${Math.round(100 * regular.cv)} %`]);
    const { lag_ms, fps } = this.quality;
    if (fps !== null && fps !== undefined) facts.push(["At the monitor", `${fps.toFixed(1)} a second${lag_ms === null ? "" : `, ${Math.round(lag_ms)} ms late`}`]);
    return facts;
  }

  end(why) {
    if (this.over) return;
    this.over = true;
    clearInterval(this.timer);
    this.cadence?.stop();
    this.publication?.stop();
    if (this.stream) stopTracks(this.stream);
    $("preview").srcObject = null;
    if (session === this) session = null;
    showStage("idle");
    showTrouble(why);
  }
}

const rounded = (value, digits) => (Number.isFinite(value) ? Number(value.toFixed(digits)) : null);
const stopTracks = (stream) => stream.getTracks().forEach((track) => track.stop());

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (session) return session.end(null);
  if ($("token").value.trim()) token = $("token").value.trim();
  session = new Session();
  return session.start();
});
for (const radio of document.querySelectorAll("input[name=kind]")) {
  radio.addEventListener("change", () => ($("camera-field").hidden = radio.value === "screen"));
}
$("camera").addEventListener("change", () => session?.change());
navigator.mediaDevices?.addEventListener?.("devicechange", () => listCameras());
addEventListener("hashchange", takeToken);
addEventListener("pagehide", () => session?.end(null));

takeToken();
sayWhere();
showStage("idle");
try {
  words = await (await fetch("words.json")).json();
  $("toggle").disabled = false;
} catch {
  showTrouble("unmask does not answer. Check that unmask serve is running, then reload this page.");
}
listCameras().catch(() => {});
