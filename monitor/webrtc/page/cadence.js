// How evenly a camera's pictures come: the rate, and the coefficient of variation of the time from one to the next.

const KEPT = 150;
const ENOUGH = 30;
const PAUSE_MS = 1000;

/** Intervals in ms -> { rate_hz, cv }, or null where there are too few. */
export function regularity(intervals_ms) {
  if (intervals_ms.length < ENOUGH) return null;
  const mean = intervals_ms.reduce((sum, one) => sum + one, 0) / intervals_ms.length;
  if (!(mean > 0)) return null;
  const variance = intervals_ms.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (intervals_ms.length - 1);
  return { rate_hz: 1000 / mean, cv: Math.sqrt(variance) / mean };
}

/** Watches the pictures of a video element by requestVideoFrameCallback, where the browser has it. */
export class Cadence {
  constructor(video) {
    this.video = video;
    this.intervals = [];
    this.last = null;
    this.handle = null;
    if (video.requestVideoFrameCallback) this.next();
  }

  next() {
    this.handle = this.video.requestVideoFrameCallback((now, picture) => {
      this.add(picture.captureTime ?? now, picture.presentedFrames);
      this.next();
    });
  }

  /** One picture, taken at `time_ms`. Pictures that the screen left out, and pauses, break the chain. */
  add(time_ms, count) {
    const { last } = this;
    this.last = { time_ms, count };
    if (!last || count !== last.count + 1) return;
    const interval = time_ms - last.time_ms;
    if (!(interval > 0) || interval > PAUSE_MS) return;
    this.intervals.push(interval);
    if (this.intervals.length > KEPT) this.intervals.shift();
  }

  /** { rate_hz, cv } of the last pictures, or null. */
  read() {
    return regularity(this.intervals);
  }

  stop() {
    if (this.handle !== null) this.video.cancelVideoFrameCallback(this.handle);
  }
}
