// The options: where unmask is, the pairing token, on or off, and the call pages that the user added.

import { addOrigin, builtIn, parseEndpoint, parseOrigin, read, removeOrigin, requestAccess } from "./settings.js";

const $ = (id) => document.getElementById(id);
const isLocal = (endpoint) => ["127.0.0.1", "localhost"].includes(new URL(endpoint).hostname);

function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = content;
  return made;
}

async function draw() {
  const settings = await read();
  $("endpoint").value = settings.endpoint;
  $("token").value = settings.token;
  $("on").checked = settings.on;
  $("to").textContent = isLocal(settings.endpoint) ? "unmask on this computer" : `unmask on ${new URL(settings.endpoint).host}, another computer`;
  $("built-in").textContent = [...new Set(builtIn().map((pattern) => pattern.split("/")[2]))].join(", ");
  $("origins").replaceChildren(...settings.origins.map(origin));
}

function origin(address) {
  const item = element("li", "", address);
  const button = element("button", "quiet", "Remove");
  button.type = "button";
  button.setAttribute("aria-label", `Remove ${address}`);
  button.addEventListener("click", async () => {
    await removeOrigin(address);
    $("origin-said").textContent = `${address} was removed. Reload its tabs.`;
    await draw();
  });
  item.append(button);
  return item;
}

$("pair").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const { endpoint, token } = parseEndpoint($("endpoint").value);
    if (!endpoint.startsWith("http://127.0.0.1") && !(await requestAccess([endpoint]))) throw new Error("The browser was not allowed to speak to this address, so nothing was saved.");
    const kept = { endpoint, token: token ?? $("token").value.trim(), on: $("on").checked };
    await chrome.storage.local.set(kept);
    const status = kept.on && kept.token ? await chrome.runtime.sendMessage({ kind: "status" }) : null;
    $("said").textContent = status?.trouble ?? (!kept.token ? "Saved. The pairing token is still missing." : status ? "Saved, and unmask answers. Reload the tabs of open calls." : "Saved.");
  } catch (error) {
    $("said").textContent = error.message;
    return;
  }
  await draw();
});

$("adding").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const wanted = parseOrigin($("origin").value);
    if (!(await requestAccess([wanted]))) throw new Error("The browser was not allowed to read this page, so it was not added.");
    await addOrigin(wanted);
    $("origin").value = "";
    $("origin-said").textContent = `${wanted} was added. Reload its tabs.`;
  } catch (error) {
    $("origin-said").textContent = error.message;
    return;
  }
  await draw();
});

await draw();
