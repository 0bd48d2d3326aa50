// What a call page calls the person behind a video track. Pages change without notice, so every finder may fail:
// then the next is asked, and in the end the person is "Person N". The finders for the sites were written from what
// is publicly known of their pages and were not tried in a call there.
globalThis.unmaskNames = (() => {
  "use strict";
  const MAX_CHARS = 64;
  const MAX_STEPS = 8;
  const NOT_A_NAME = /^(mute|unmute|pin|unpin|more( options)?|options|menu|video|camera|speaking|presenting|you|participant|guest)$/i;

  /** One finder a site: the tile round a video, and where in it the name stands. */
  const SITES = [
    { host: /(^|\.)meet\.google\.com$/, tile: "[data-participant-id], [data-requested-participant-id]", name: "[data-self-name], .notranslate" },
    { host: /(^|\.)teams\.(microsoft|live)\.com$|(^|\.)teams\.cloud\.microsoft$/, tile: "[data-cid='calling-participant-stream'], [data-tid^='participant'], [data-stream-type]", name: "[data-tid*='displayName' i], [data-tid*='name' i]" },
    { host: /(^|\.)zoom\.us$/, tile: "[class*='video-player'], [class*='video-frame'], [class*='video-avatar']", name: "[class*='avatar-name'], [class*='avatar-footer']" },
    { host: /(^|\.)meet\.jit\.si$/, tile: "[id^='participant_'], .videocontainer", name: ".displayname, [id$='_name']" },
  ];
  const ANYWHERE = "[data-participant-name], [data-display-name], [data-name], figcaption, .displayname, [class*='participant-name' i], [class*='display-name' i], [class*='displayname' i], [class*='username' i]";

  function clean(text) {
    const name = (text ?? "").replace(/[\p{C}\s]+/gu, " ").trim();
    return name && name.length <= MAX_CHARS && /\p{L}/u.test(name) && !NOT_A_NAME.test(name) ? name : null;
  }

  const attributes = ["data-participant-name", "data-display-name", "data-name"];
  function nameOf(element) {
    for (const attribute of attributes) {
      const name = clean(element.getAttribute(attribute));
      if (name) return name;
    }
    return clean(element.textContent);
  }

  function inside(tile, selector) {
    for (const element of tile.querySelectorAll(selector)) {
      const name = nameOf(element);
      if (name) return name;
    }
    return null;
  }

  /** Labels of tiles read like "Ada Lovelace, muted, has context menu". */
  const labelOf = (tile) => clean((tile.getAttribute("aria-label") ?? "").split(/[,;|]/)[0]);

  function bySite(video, host) {
    const site = SITES.find((one) => one.host.test(host));
    const tile = site && video.closest(site.tile);
    return tile ? (inside(tile, site.name) ?? labelOf(tile)) : null;
  }

  /** Up from the video, as long as it is the only one within, to the first thing that is marked as a name. */
  function byNeighbourhood(video) {
    let tile = video;
    for (let step = 0; step < MAX_STEPS && tile.parentElement && tile.parentElement !== document.body; step += 1) {
      tile = tile.parentElement;
      if (tile.querySelectorAll("video").length > 1) return null;
      const name = attributes.map((attribute) => clean(tile.getAttribute(attribute))).find(Boolean) ?? inside(tile, ANYWHERE) ?? labelOf(tile);
      if (name) return name;
    }
    return null;
  }

  function shows(video, track) {
    const { srcObject } = video;
    return srcObject instanceof MediaStream && srcObject.getVideoTracks().some((one) => one.id === track.id);
  }

  /** The name shown with `track` on this page, or null. */
  function find(track, host = location.hostname) {
    for (const finder of [bySite, byNeighbourhood]) {
      for (const video of document.querySelectorAll("video")) {
        try {
          const name = shows(video, track) ? finder(video, host) : null;
          if (name) return name;
        } catch {
          // The page is not as this finder expects; the next one is asked.
        }
      }
    }
    return null;
  }

  return { find };
})();
