// An answer, as a person reads it.

import { byline, certainty, clock, h, plural } from "./dom.js";

/** What a recognition says, as one sentence. */
export function sentence({ matches, query }) {
  if (!matches.length) return `No match: nothing of the library was heard in ${query.source}.`;
  const [{ track, confidence }] = matches;
  return `${track.title}${track.artist ? ` by ${track.artist}` : ""}, ${certainty(confidence)} sure.`;
}

/** A recognition as a card. */
export function answerCard(recognition) {
  const { query, matches, timings } = recognition;
  const head = h(
    "p",
    { class: "small muted" },
    `${query.source} · ${query.duration_s.toFixed(1)} s heard · answered in ${Math.round(timings.total_ms)} ms`,
  );
  if (!matches.length) {
    return h(
      "article",
      { class: "card answer none" },
      h("h2", { class: "title" }, "No match"),
      h("p", {}, "Nothing of the library was heard in it. That is an answer, too: the daemon rather says nothing than something wrong."),
      head,
    );
  }
  return h(
    "article",
    { class: "card answer" },
    matches.map((match, place) => matchView(match, query, place)),
    head,
  );
}

function matchView(
  { track, confidence, coverage, speed, track_start_s: at, query_start_s: start, query_end_s: end, gaps, twins },
  query,
  place,
) {
  const stretch = h(
    "span",
    { class: "stretch", "aria-hidden": "true" },
    piece(start, end, query, ""),
    gaps.map((gap) => piece(gap.start_s, gap.end_s, query, "gap")),
  );
  const facts = [
    `${certainty(confidence)} sure`,
    `it begins ${clock(at)} into the track`,
    `explains ${Math.round(coverage * 100)} % of what was heard`,
    Math.abs(speed - 1) > 0.002 && `played ${Math.abs(speed * 100 - 100).toFixed(1)} % ${speed > 1 ? "faster" : "slower"}`,
    twins.length > 0 && `on ${plural(twins.length, "other release")} too`,
  ];
  return h(
    "div",
    { class: "match" },
    h(place ? "h3" : "h2", { class: "title" }, track.title),
    h("p", { class: "by" }, byline(track) || "artist unknown"),
    stretch,
    h("p", { class: "small muted" }, facts.filter(Boolean).join(" · ")),
  );
}

function piece(from_s, to_s, query, kind) {
  const element = h("i", { class: kind });
  element.style.setProperty("--from", from_s / query.duration_s);
  element.style.setProperty("--length", (to_s - from_s) / query.duration_s);
  return element;
}
