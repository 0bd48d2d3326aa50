"""Publishes a test picture by WHIP with GStreamer's webrtcbin: libnice, GStreamer's DTLS, SRTP and encoders.

Run by the system's Python, which has GStreamer's bindings: URL TOKEN CODEC SECONDS. Leaves without a DELETE.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

ENCODERS = {
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp8pay ! "
    "application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! "
    "video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency ! "
    "application/x-rtp,media=video,encoding-name=H264,payload=97",
}
kept = []  # the bindings free what only C holds on to


def described(text, kind):
    _, message = GstSdp.SDPMessage.new()
    GstSdp.sdp_message_parse_buffer(text, message)
    description = GstWebRTC.WebRTCSessionDescription.new(kind, message)
    kept.extend((message, description))
    return description


def main(url, token, codec, seconds):
    Gst.init(None)
    if Gst.ElementFactory.find("webrtcbin") is None or Gst.ElementFactory.find("nicesink") is None:
        return 77
    picture = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 ! videoconvert"
    pipeline = Gst.parse_launch(f"webrtcbin name=w bundle-policy=max-bundle {picture} ! {ENCODERS[codec]} ! w.")
    webrtc, loop = pipeline.get_by_name("w"), GLib.MainLoop()

    def publish():
        offer = webrtc.get_property("local-description").sdp.as_text().encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        request = urllib.request.Request(url, data=offer, headers=headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        webrtc.emit("set-remote-description", described(text, GstWebRTC.WebRTCSDPType.ANSWER), Gst.Promise.new())

    def gathered(*_):
        complete = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        if webrtc.get_property("ice-gathering-state") == complete:
            GLib.idle_add(publish)

    def offered(promise, *_):
        promise.wait()
        reply = promise.get_reply()
        text = reply["offer"].sdp.as_text().encode()
        kept.append((promise, reply))
        webrtc.emit("set-local-description", described(text, GstWebRTC.WebRTCSDPType.OFFER), Gst.Promise.new())

    def needed(_):
        webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(offered, None))

    webrtc.connect("notify::ice-gathering-state", gathered)
    webrtc.connect("on-negotiation-needed", needed)
    pipeline.set_state(Gst.State.PLAYING)
    GLib.timeout_add_seconds(int(seconds), loop.quit)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    return 0


sys.exit(main(*sys.argv[1:]))
