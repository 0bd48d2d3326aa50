// Runs in the page's own world, before the page's scripts: sees which remote video tracks a call receives, and shows
// each to the extension's own world. It changes nothing of a call: the constructor stays the browser's, behind a Proxy
// that listens for "track". It knows no token, no address and no verdict, and whatever goes wrong here is swallowed.
(() => {
  "use strict";
  const Native = window.RTCPeerConnection;
  if (typeof Native !== "function") return;

  // Taken now, so that what a page later puts in their place is not what we call.
  const { apply, construct, getOwnPropertyDescriptor, defineProperty } = Reflect;
  const getter = (type, name) => getOwnPropertyDescriptor(type.prototype, name).get;
  const trackOf = getter(RTCTrackEvent, "track");
  const kindOf = getter(MediaStreamTrack, "kind");
  const setSource = getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject").set;
  const { addEventListener, dispatchEvent } = EventTarget.prototype;
  const { createElement } = Document.prototype;
  const { setTimeout, MediaStream, MouseEvent } = window;

  /** Tracks cannot be sent from world to world, but the document is shared: a video element that is never shown carries one. */
  function show(track) {
    try {
      const carrier = apply(createElement, document, ["video"]);
      apply(setSource, carrier, [new MediaStream([track])]);
      apply(dispatchEvent, document, [new MouseEvent("unmask-track", { relatedTarget: carrier })]);
      apply(setSource, carrier, [null]);
    } catch {
      // The call goes on unwatched.
    }
  }

  function watch(pc) {
    try {
      apply(addEventListener, pc, ["track", (event) => {
        try {
          const track = apply(trackOf, event, []);
          if (apply(kindOf, track, []) === "video") setTimeout(show, 0, track);
        } catch {
          // The call goes on unwatched.
        }
      }]);
    } catch {
      // The call goes on unwatched.
    }
    return pc;
  }

  try {
    const Watched = new Proxy(Native, {
      construct: (target, parameters, type) => watch(construct(target, parameters, type === Watched ? target : type)),
    });
    const place = getOwnPropertyDescriptor(Native.prototype, "constructor");
    defineProperty(Native.prototype, "constructor", { ...place, value: Watched });
    for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection"]) {
      const property = getOwnPropertyDescriptor(window, name);
      if (property?.value === Native) defineProperty(window, name, { ...property, value: Watched });
    }
  } catch {
    // The call goes on unwatched.
  }
})();
