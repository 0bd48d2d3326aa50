// Runs in the extension's own world beside a call page: publishes a clone of each remote video track to unmask on this
// computer, one session a participant. The page reaches neither these connections nor the token, which the background
// holds. The call's own tracks are cloned and otherwise left alone.
(() => {
  "use strict";
  const MAX_PEOPLE = 16;
  const TICK_MS = 2000;
  const NAME_WAIT_MS = 3000;
  const STILL_MS = 5000;
  const GATHER_MS = 1500;
  const RETRY_MS = [3000, 6000, 15000, 30000];
  const MAX_LONG_SIDE = 1280;
  const MAX_BITRATE = 3_000_000;
  const START_KBPS = 2000;

  const people = new Map();
  let on = false;
  let counter = 0;
  let timer = null;

  /** Ask the background; null where the extension was reloaded or removed, which ends everything here. */
  async function ask(message) {
    try {
      return await chrome.runtime.sendMessage(message);
    } catch {
      if (!chrome.runtime?.id) shutDown();
      return null;
    }
  }

  /** Whether a track gives pictures: a call tells by no event that somebody has turned their camera off. */
  class Pictures {
    constructor(track) {
      this.track = track;
      this.count = 0;
      this.moved_ms = -Infinity;
      this.video = document.createElement("video");
      this.video.muted = true;
      this.video.srcObject = new MediaStream([track]);
      this.video.play().catch(() => {});
    }

    /** Whether a new one came within the last seconds. */
    come(now) {
      const count = this.video.getVideoPlaybackQuality().totalVideoFrames;
      // Firefox counts none of a stream's; there the track's own word is all there is.
      const uncounted = count === 0 && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
      if (uncounted ? !this.track.muted : count > this.count) this.moved_ms = now;
      this.count = count;
      return now - this.moved_ms < STILL_MS;
    }

    close() {
      this.video.srcObject = null;
    }
  }

  class Participant {
    constructor(track) {
      this.track = track;
      counter += 1;
      this.fallback = `Person ${counter}`;
      this.seen_ms = null;
      this.other = null;
      this.pictures = null;
      this.shown = false;
      this.failures = 0;
      this.retry_ms = 0;
      this.link = null;
      this.trouble = null;
      for (const change of ["mute", "unmute", "ended"]) track.addEventListener(change, () => this.update());
    }

    get state() {
      if (this.link?.ready) return "sent";
      if (this.trouble) return "trouble";
      return this.shown ? "starting" : "no picture";
    }

    /** Bring what is published into line with what there is: called at every change, and every two seconds. */
    update() {
      const now = performance.now();
      if (this.track.readyState === "ended") {
        this.leave();
        people.delete(this.track.id);
        return;
      }
      if (!on) {
        this.leave();
        return;
      }
      this.pictures ??= new Pictures(this.track);
      this.shown = this.pictures.come(now);
      if (!this.shown) {
        this.stop();
        this.seen_ms = null;
        return;
      }
      this.seen_ms ??= now;
      const name = unmaskNames.find(this.track);
      if (this.link) this.follow(name);
      else if (now >= this.retry_ms && (name || now - this.seen_ms >= NAME_WAIT_MS)) this.start(name);
    }

    /** Calls give one track to another person in time; whoever it is now is judged afresh, under their own name. */
    follow(name) {
      const other = name && name !== this.link.name ? name : null;
      if (other && other === this.other) this.stop();
      this.other = other;
    }

    async start(name) {
      const link = new Link(this.track, name ?? this.fallback, () => this.lost(link));
      this.link = link;
      const trouble = await link.open();
      if (this.link !== link) return;
      this.trouble = trouble;
      if (trouble) this.lost(link);
      else this.failures = 0;
    }

    lost(link) {
      if (this.link !== link) return;
      this.stop();
      this.retry_ms = performance.now() + RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
      this.failures += 1;
    }

    /** Nothing of this person is read any more, and no failure is remembered. */
    leave() {
      this.stop();
      this.pictures?.close();
      this.pictures = null;
      this.shown = false;
      this.seen_ms = null;
      this.failures = 0;
      this.retry_ms = 0;
      this.trouble = null;
    }

    stop() {
      this.link?.close();
      this.link = null;
    }
  }

  /** One WHIP session; the HTTP of it is the background's. */
  class Link {
    constructor(track, name, onlost) {
      this.name = name;
      this.onlost = onlost;
      this.clone = track.clone();
      this.pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
      this.pc.onconnectionstatechange = () => {
        if (!this.closed && this.pc.connectionState === "failed") onlost();
      };
      this.ready = false;
      this.closed = false;
      this.resource = null;
    }

    /** Null when it runs, else why it does not, as a sentence. */
    async open() {
      try {
        const { sender } = this.pc.addTransceiver(this.clone, { direction: "sendonly" });
        await this.pc.setLocalDescription();
        await gathered(this.pc);
        const reply = await ask({ kind: "offer", sdp: this.pc.localDescription?.sdp ?? "", name: this.name });
        this.resource = reply?.resource ?? null;
        if (this.closed) {
          this.forget();
          return null;
        }
        if (!reply?.answer) return reply?.trouble ?? "The extension does not answer. Reload this page.";
        await this.pc.setRemoteDescription({ type: "answer", sdp: quickStart(reply.answer) });
        this.given = reply.given;
        await shape(sender, this.clone);
        this.ready = true;
        return null;
      } catch (error) {
        return this.closed ? null : `This browser and unmask did not agree: ${String(error.message).slice(0, 200)}`;
      }
    }

    close() {
      if (this.closed) return;
      this.closed = true;
      this.ready = false;
      this.clone.stop();
      this.pc.close();
      this.forget();
    }

    forget() {
      if (this.resource) ask({ kind: "end", resource: this.resource });
      this.resource = null;
    }
  }

  function gathered(pc) {
    if (pc.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      const limit = setTimeout(resolve, GATHER_MS);
      pc.addEventListener("icegatheringstatechange", () => {
        if (pc.iceGatheringState !== "complete") return;
        clearTimeout(limit);
        resolve();
      });
    });
  }

  /** Chromium begins at 300 kbit/s and takes half a minute to be sharp; this machine need not be felt out like a network. */
  function quickStart(sdp) {
    const codecs = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:VP8|VP9|AV1|H264)\/90000$/gm)].map((line) => line[1]);
    return codecs.reduce((text, number) => {
      const fmtp = new RegExp(`^a=fmtp:${number} .*$`, "m");
      const start = `x-google-start-bitrate=${START_KBPS}`;
      if (fmtp.test(text)) return text.replace(fmtp, (line) => `${line};${start}`);
      return text.replace(new RegExp(`^a=rtpmap:${number} .*$`, "m"), (line) => `${line}\r\na=fmtp:${number} ${start}`);
    }, sdp);
  }

  /** Faces stay as large as they came, up to 1280 px; pictures rather than size are lost when the encoder is late. */
  async function shape(sender, track) {
    const parameters = sender.getParameters();
    const { width = 0, height = 0 } = track.getSettings();
    parameters.degradationPreference = "maintain-resolution";
    for (const encoding of parameters.encodings ?? []) {
      encoding.maxBitrate = MAX_BITRATE;
      encoding.maxFramerate = 30;
      encoding.scaleResolutionDownBy = Math.max(1, Math.max(width, height) / MAX_LONG_SIDE);
    }
    await sender.setParameters(parameters).catch(() => {});
  }

  async function tick() {
    for (const person of [...people.values()]) person.update();
    const report = [...people.values()].map((one) => ({ name: one.link?.given ?? one.link?.name ?? one.fallback, state: one.state }));
    const trouble = [...people.values()].map((one) => one.trouble).find(Boolean) ?? null;
    if (!people.size) {
      clearInterval(timer);
      timer = null;
    }
    const reply = await ask({ kind: "tick", people: report, trouble });
    if (reply) switchTo(reply.on === true);
  }

  function switchTo(wanted) {
    if (on === wanted) return;
    on = wanted;
    for (const person of [...people.values()]) person.update();
  }

  function take(track) {
    if (track?.kind !== "video" || track.readyState !== "live" || people.has(track.id) || people.size >= MAX_PEOPLE) return;
    people.set(track.id, new Participant(track));
    timer ??= setInterval(tick, TICK_MS);
    tick();
  }

  function shutDown() {
    on = false;
    clearInterval(timer);
    document.removeEventListener("unmask-track", hear);
    for (const person of people.values()) person.leave();
    people.clear();
  }

  function hear(event) {
    try {
      const [track] = event.relatedTarget?.srcObject?.getVideoTracks() ?? [];
      take(track);
    } catch {
      // Not from our hook.
    }
  }

  document.addEventListener("unmask-track", hear);
  addEventListener("pagehide", () => {
    for (const person of people.values()) person.leave();
  });
  chrome.runtime.onMessage.addListener((message, sender) => {
    if (sender.id === chrome.runtime.id && message?.kind === "switch") switchTo(message.on === true);
  });
})();
