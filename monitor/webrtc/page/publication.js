// Publishes one video track to a WHIP endpoint (RFC 9725) and opens the data channel "verdicts" beside it.

const GATHER_MS = 1500;
const CLOSE_MS = 1000;
const ANSWER_MS = 15000;
const MAX_ANSWER_CHARS = 64 * 1024;
const MAX_BITRATE = 4_000_000;
const START_KBPS = 2000;

const REFUSED = {
  401: "The pairing token is missing or wrong. Open the address that unmask serve prints, or paste the token.",
  403: "unmask does not accept this page's address. Open the address that unmask serve prints.",
  404: "This is not an address of unmask. Open the address that unmask serve prints.",
  409: "The monitor already shows as many pictures as it can. Stop another one, then start again.",
  413: "unmask refused the offer of this browser as too long. Try another browser.",
  429: "Too many tries in a short time. Wait ten seconds, then start again.",
  503: "The monitor already shows as many pictures as it can. Stop another one, then start again.",
};

/** An error whose message is a sentence for the user. */
export class Refusal extends Error {}

/** Names as a header value: JSON in ASCII, because headers carry nothing else. */
export function namesHeader(names) {
  const json = JSON.stringify(names.map((name) => String(name).slice(0, 64)));
  return json.replace(/[^\x20-\x7e]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** One WHIP session. `onmessage(text)` gets the verdicts, `onopen()` says that reports may be sent, `onlost()` its end. */
export class Publication {
  constructor({ onmessage, onopen, onlost }) {
    this.pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.resource = null;
    this.ended = false;
    this.channel = this.pc.createDataChannel("verdicts");
    this.channel.onmessage = (event) => typeof event.data === "string" && onmessage(event.data);
    this.channel.onopen = onopen;
    this.pc.onconnectionstatechange = () => {
      if (!this.ended && ["failed", "closed"].includes(this.pc.connectionState)) onlost();
    };
    this.channel.onclose = () => !this.ended && onlost();
  }

  /** Send `stream`'s video track. Throws Refusal; the session is then closed. */
  async start(stream, endpoint, { token, name }) {
    this.token = token;
    try {
      const [track] = stream.getVideoTracks();
      const { sender } = this.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      this.sender = sender;
      await this.pc.setLocalDescription();
      await gathered(this.pc);
      if (this.ended) return;
      const answer = await this.exchange(endpoint, this.pc.localDescription.sdp, name);
      if (this.ended) return;
      await this.pc.setRemoteDescription({ type: "answer", sdp: quickStart(answer) });
      await keepResolution(sender);
    } catch (error) {
      if (this.ended) return;
      this.stop();
      throw error instanceof Refusal ? error : new Refusal(`This browser and unmask did not agree on a way to send: ${error.message}`);
    }
  }

  async exchange(endpoint, sdp, name) {
    const headers = { "Content-Type": "application/sdp", ...this.authorization() };
    if (name) headers["X-Unmask-Names"] = namesHeader([name]);
    let response;
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      response = await fetch(endpoint, { method: "POST", headers, body: sdp, cache: "no-store", signal });
    } catch {
      throw new Refusal("unmask does not answer. Check that unmask serve is running, then start again.");
    }
    if (response.status !== 201) {
      throw new Refusal(REFUSED[response.status] ?? `unmask refused, and gave status ${response.status}. Restart unmask serve.`);
    }
    const location = response.headers.get("Location");
    const resource = location && new URL(location, response.url);
    this.resource = resource && resource.origin === new URL(response.url).origin ? resource.href : null;
    if (this.ended) this.forget();
    const answer = await response.text();
    if (answer.length > MAX_ANSWER_CHARS) throw new Refusal("unmask gave an answer that is too long. Restart unmask serve.");
    return answer;
  }

  authorization() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** Send one report as JSON; dropped where the channel is not open or is behind. */
  report(document) {
    if (this.channel.readyState === "open" && this.channel.bufferedAmount < 4096) this.channel.send(JSON.stringify(document));
  }

  /** End the session here and at the server; may be called again. */
  stop() {
    if (this.ended) return;
    this.ended = true;
    // The server first: a connection that is gone takes its session along, and DELETE would find nothing.
    const close = () => this.pc.close();
    this.forget().then(close);
    setTimeout(close, CLOSE_MS);
  }

  async forget() {
    if (!this.resource) return;
    const resource = this.resource;
    this.resource = null;
    await fetch(resource, { method: "DELETE", headers: this.authorization(), keepalive: true }).catch(() => {});
  }
}

/** All candidates are in the offer, so that no PATCH is needed; on one machine that takes milliseconds. */
function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Chromium begins at 300 kbit/s and takes half a minute to be sharp; this machine need not be felt out like a network. */
export function quickStart(sdp) {
  const codecs = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|VP9|AV1|H264)\/90000$/gm)].map((line) => line[1]);
  return codecs.reduce((text, number) => {
    const fmtp = new RegExp(`^a=fmtp:${number} .*$`, "m");
    const start = `x-google-start-bitrate=${START_KBPS}`;
    if (fmtp.test(text)) return text.replace(fmtp, (line) => `${line};${start}`);
    return text.replace(new RegExp(`^a=rtpmap:${number} .*$`, "m"), (line) => `${line}\r\na=fmtp:${number} ${start}`);
  }, sdp);
}

/** Faces must stay large: lose pictures rather than size when the encoder cannot follow. */
async function keepResolution(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  for (const encoding of parameters.encodings ?? []) {
    encoding.maxBitrate = MAX_BITRATE;
    encoding.maxFramerate = 30;
  }
  await sender.setParameters(parameters).catch(() => {});
}
