// The verdict documents that come over the data channel: checked, bounded, and put in words. No page, no state.

const SCHEMA = "unmask.verdict/1";
const MAX_PEOPLE = 32;
const MAX_TEXT = 300;
/** From the one who leads the display to the one who ends it. */
const ORDER = ["SUSPECT", "UNCERTAIN", "NO_SIGN", "CANNOT_TELL", "WARMING_UP"];

const isShare = (value) => typeof value === "number" && value >= 0 && value <= 1;
const text = (value) => (typeof value === "string" && value ? value.slice(0, MAX_TEXT) : null);

/** JSON text -> { people, quality, notices, starting }, or null where it is no verdict document. Most suspicious first. */
export function parse(message) {
  let document;
  try {
    document = JSON.parse(message);
  } catch {
    return null;
  }
  if (document?.schema !== SCHEMA || !Array.isArray(document.people)) return null;
  const people = document.people.slice(0, MAX_PEOPLE).map(person).filter(Boolean);
  people.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (b.suspicion ?? 0) - (a.suspicion ?? 0));
  const { lag_ms, fps } = document.quality ?? {};
  return {
    people,
    quality: { lag_ms: Number.isFinite(lag_ms) ? lag_ms : null, fps: Number.isFinite(fps) ? fps : null },
    notices: [document.shed, document.message, document.trouble, document.remark].map(text).filter(Boolean).map(sentence),
    starting: document.run === "starting",
  };
}

function person(entry) {
  if (!entry || !Number.isInteger(entry.track_id) || !ORDER.includes(entry.state)) return null;
  const box = Array.isArray(entry.box) && entry.box.length === 4 && entry.box.every(Number.isFinite) ? entry.box : null;
  return {
    id: entry.track_id,
    state: entry.state,
    suspicion: isShare(entry.suspicion) ? entry.suspicion : null,
    reasons: (Array.isArray(entry.reasons) ? entry.reasons : []).map(text).filter(Boolean).slice(0, 4),
    box: box && box.map((side) => Math.min(1, Math.max(0, side))),
  };
}

/** A probability in words, never a certainty; a dash where there is none. */
export function percent(share) {
  if (share === null) return "–";
  if (share < 0.01) return "<1 %";
  if (share > 0.99) return ">99 %";
  return `${Math.round(share * 100)} %`;
}

/** Why a person cannot be judged, and what to do: reasons are stable names, or already sentences. */
export function explain(words, reasons) {
  const known = reasons.map((name) => words.reasons[name] ?? { text: name, advice: "" });
  return { why: known.map((one) => one.text).join(", and "), advice: known[0]?.advice ?? "" };
}

/** What the headline says: { state, title, detail } of the most suspicious person. */
export function lead(words, people, starting = false) {
  if (!people.length && starting) {
    return { state: "WARMING_UP", title: words.states.WARMING_UP.headline, detail: "The detector is being loaded." };
  }
  if (!people.length) {
    const { text: why, advice } = words.reasons["no-face"];
    return { state: "CANNOT_TELL", title: words.states.CANNOT_TELL.headline, detail: `${capital(why)}. ${advice}` };
  }
  const first = people[0];
  const meaning = words.states[first.state];
  if (first.state === "CANNOT_TELL") {
    const { why, advice } = explain(words, first.reasons);
    return { state: first.state, title: meaning.headline, detail: why ? `${capital(why)}. ${advice}`.trim() : meaning.meaning };
  }
  return { state: first.state, title: meaning.headline, detail: meaning.meaning };
}

/** "the picture comes late" -> "The picture comes late." */
const sentence = (words) => capital(words) + (/[.!?]$/.test(words) ? "" : ".");

export const capital = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1);
