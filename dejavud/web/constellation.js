// What a listener hears, drawn as a constellation with the track's own laid over it; and the same in words.

import { h, say } from "./dom.js";

const HEARD_S = 10;
const SHOWN_S = 8.8; // what is older leaves before it is forgotten
const LATE_S = 1.2; // what is heard is known so much later: drawn behind the moment, it glides in instead of jumping
const LINK_S = 0.9;
const STEP_MS = 60; // a pixel or two: whoever leaves the page open all day pays for each step
const MAGNITUDES = [3.1, 2.3, 1.6, 1.1]; // of a quarter of peaks, as of stars, the most prominent first
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** A picture of one listener's last seconds. `show` takes what `listeners.peaks` answers and the title by play. */
export class Constellation {
  #canvas = h("canvas", { role: "img", "aria-label": "Nothing heard yet" });
  #words = h("figcaption", {}, "Nothing heard yet");
  #peaks = null;
  #got = 0;
  #timer = 0;
  #isWatched = false;

  constructor() {
    this.element = h("figure", { class: "sky" }, this.#canvas, this.#words);
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
    new IntersectionObserver(([entry]) => {
      this.#isWatched = entry.isIntersecting;
      this.#draw();
    }).observe(this.#canvas);
    addEventListener("themechange", () => this.#draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Whether it is on the screen: what is not need not be asked for. */
  get isWatched() {
    return this.#isWatched && this.#canvas.offsetParent !== null;
  }

  show(peaks, titles) {
    this.#peaks = { ...peaks, links: peaks.tracks.map(links) };
    this.#got = performance.now();
    const words = inWords(peaks, titles);
    say(this.#words, words);
    this.#canvas.setAttribute("aria-label", words);
    this.#draw();
  }

  #draw() {
    clearTimeout(this.#timer);
    if (!this.isWatched) return;
    this.#paint();
    if (this.#peaks && !still.matches && performance.now() - this.#got < 2500)
      this.#timer = setTimeout(() => requestAnimationFrame(() => this.#draw()), STEP_MS);
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
      this.#canvas.width = Math.round(width * scale);
      this.#canvas.height = Math.round(height * scale);
    }
    const pen = this.#canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.#canvas);
    const ink = Object.fromEntries(["line", "heard", "track", "met"].map((name) => [name, style.getPropertyValue(`--sky-${name}`)]));
    const peaks = this.#peaks;
    const [low, high] = [Math.sqrt(peaks?.min_hz ?? 60), Math.sqrt(peaks?.max_hz ?? 3750)];
    const since = peaks && !still.matches ? Math.min((performance.now() - this.#got) / 1000, 2.5) : LATE_S;
    const first = (peaks?.to_s ?? 0) + since - LATE_S - SHOWN_S;
    const x = (time_s) => ((time_s - first) / SHOWN_S) * width;
    const y = (hz) => height - 6 - ((Math.sqrt(hz) - low) / (high - low)) * (height - 12);
    pen.strokeStyle = ink.line;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let time_s = Math.ceil(first); time_s < first + SHOWN_S; time_s += 1) pen.rect(Math.round(x(time_s)), 0, 0, height);
    for (const hz of [250, 1000, 2500]) pen.rect(0, Math.round(y(hz)), width, 0);
    pen.stroke();
    if (!peaks) return;
    pen.fillStyle = ink.heard;
    const { time_s: times, hz } = peaks.heard;
    for (let i = 0; i < times.length; i += 1) pen.fillRect(x(times[i]) - 1, y(hz[i]) - 1, 2, 2);
    peaks.tracks.forEach((track, place) => paintTrack(pen, track, peaks.links[place], ink, x, y));
  }
}

function paintTrack(pen, { time_s: times, hz, quarter, is_met: isMet }, linked, ink, x, y) {
  pen.strokeStyle = ink.met;
  pen.globalAlpha = 0.28;
  pen.beginPath();
  for (const [from, to] of linked) {
    pen.moveTo(x(times[from]), y(hz[from]));
    pen.lineTo(x(times[to]), y(hz[to]));
  }
  pen.stroke();
  pen.globalAlpha = 1;
  pen.strokeStyle = ink.track;
  pen.fillStyle = ink.met;
  for (let i = 0; i < times.length; i += 1) {
    pen.beginPath();
    pen.arc(x(times[i]), y(hz[i]), MAGNITUDES[quarter[i]], 0, 7);
    if (isMet[i]) pen.fill();
    else pen.stroke();
  }
}

/** Pairs of the brightest met peaks that lie near each other: the lines of the constellation. */
function links({ time_s: times, hz, quarter, is_met: isMet }) {
  const pairs = [];
  const met = times.map((_, i) => i).filter((i) => isMet[i] && quarter[i] === 0);
  for (let a = 0; a < met.length; a += 1) {
    let best = null;
    for (let b = a + 1; b < met.length && times[met[b]] - times[met[a]] < LINK_S; b += 1) {
      const away = Math.hypot((times[met[b]] - times[met[a]]) * 700, hz[met[b]] - hz[met[a]]);
      if (times[met[b]] - times[met[a]] > 0.15 && (best === null || away < best.away)) best = { away, to: met[b] };
    }
    if (best) pairs.push([met[a], best.to]);
  }
  return pairs;
}

function inWords(peaks, titles) {
  const heard = `${peaks.heard.hz.length} peaks heard in the last ${HEARD_S} seconds`;
  if (!peaks.tracks.length) return `${heard}; no track's lie over them.`;
  const parts = peaks.tracks.map(({ play, is_met: isMet }) => {
    const nMet = isMet.filter(Boolean).length;
    return `${nMet} of the ${isMet.length} of ${titles.get(play) ?? "a track"} are among them`;
  });
  return `${heard}; ${parts.join("; ")}.`;
}
