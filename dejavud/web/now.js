// Now: what plays on each listener, how loud it is, and what it may become.

import { Constellation } from "./constellation.js";
import { bar, byline, certainty, clock, fill, h, moment, named, plural, say, setBar } from "./dom.js";

const PEAKS_MS = 1000;
const FLOOR_DB = -70;
const STATES = {
  starting: "starting",
  waiting: "waiting",
  listening: "listening",
  silent: "hears silence",
  retrying: "trying again",
  paused: "paused",
  ended: "has ended",
};

export function stateChip(listener) {
  return h("span", { class: `chip ${listener.state}` }, STATES[listener.state] ?? listener.state);
}

export function nowView(app) {
  const { live } = app;
  const cards = new Map();
  const list = h("div", { class: "cards" });
  const nobody = h("p", { class: "empty", hidden: true });
  const lately = h("ol", { class: "plain plays" });
  const earlier = h("section", { "aria-labelledby": "lately", hidden: true }, h("h2", { id: "lately" }, "Heard lately"), lately);
  const element = h("section", { class: "view now" }, nobody, list, earlier);
  let timer = 0;

  function update() {
    nobody.hidden = live.listeners.size > 0 || live.isConnected === null;
    fill(
      nobody,
      "Nothing is listened to yet. ",
      h("a", { href: "#/listeners" }, "Add a listener"),
      ", or ",
      h("a", { href: "#/recognize" }, "ask about a recording"),
      ".",
    );
    for (const [name, card] of cards) {
      if (!live.listeners.has(name)) {
        card.element.remove();
        cards.delete(name);
      }
    }
    for (const [name, listener] of live.listeners) {
      if (!cards.has(name)) {
        cards.set(name, new Card(name));
        list.append(cards.get(name).element);
      }
      cards.get(name).update(listener, live.meters.get(name));
    }
  }

  function recent() {
    earlier.hidden = !live.recent.length;
    fill(
      lately,
      live.recent.map((play) =>
        h(
          "li",
          {},
          h("time", { datetime: play.started_at }, moment(play.started_at)),
          h("span", { class: "what" }, h("b", {}, play.track.title), " ", h("span", { class: "muted" }, byline(play.track))),
          h("span", { class: "muted where" }, play.listener),
        ),
      ),
    );
  }

  async function look() {
    const watched = [...cards.entries()].filter(([name, card]) => card.sky.isWatched && live.listeners.get(name)?.state === "listening");
    await Promise.all(
      watched.map(async ([name, card]) => {
        const peaks = await app.daemon.listeners.peaks(name).catch(() => null); // the next look is a second away
        const titles = new Map(live.listeners.get(name)?.plays.map((play) => [play.play, play.track.title]));
        if (peaks) card.sky.show(peaks, titles);
      }),
    );
    if (timer) timer = setTimeout(look, PEAKS_MS);
  }

  live.addEventListener("listeners", update);
  live.addEventListener("state", update);
  live.addEventListener("recent", recent);
  live.addEventListener("meter", ({ detail: name }) => {
    if (live.listeners.has(name)) cards.get(name)?.update(live.listeners.get(name), live.meters.get(name));
  });
  let ticking = 0;
  return {
    element,
    show() {
      update();
      recent();
      timer ||= setTimeout(look, 0);
      ticking ||= setInterval(() => cards.forEach((card) => card.tick()), 250);
    },
    hide() {
      clearTimeout(timer);
      clearInterval(ticking);
      timer = ticking = 0;
    },
  };
}

/** One listener. */
class Card {
  static #n = 0;
  sky = new Constellation();
  #plays = new Map();
  #listener = null;
  #meter = null;

  constructor(name) {
    const id = `listener-${(Card.#n += 1)}`;
    this.level = h("i");
    this.loudness = h(
      "span",
      {
        class: "meter",
        role: "meter",
        "aria-label": `Level of ${name}`,
        "aria-valuemin": FLOOR_DB,
        "aria-valuemax": 0,
        "aria-valuenow": FLOOR_DB,
      },
      this.level,
    );
    this.chip = h("span");
    this.source = h("span", { class: "muted source" });
    this.playing = h("div", { class: "playing" });
    this.maybe = h("div", { class: "maybe" });
    this.reason = h("p", { class: "muted reason", hidden: true });
    this.element = h(
      "article",
      { class: "card listener", "aria-labelledby": id },
      h("header", {}, h("h2", { id }, name), this.chip, this.source),
      this.loudness,
      h("div", { class: "stage" }, this.playing, this.maybe, this.reason),
      this.sky.element,
    );
  }

  update(listener, meter) {
    const before = this.#listener;
    [this.#listener, this.#meter] = [listener, meter];
    if (before?.state !== listener.state) fill(this.chip, stateChip(listener));
    say(this.source, listener.source);
    this.source.title = listener.source;
    this.reason.hidden = !listener.reason;
    say(this.reason, listener.reason ?? "");
    const level = meter?.level_db ?? listener.level_db;
    setBar(this.level, level === null || level === undefined ? 0 : 1 - level / FLOOR_DB);
    this.loudness.setAttribute("aria-valuenow", Math.max(FLOOR_DB, Math.round(level ?? FLOOR_DB)));
    this.loudness.setAttribute("aria-valuetext", level === null || level === undefined ? "no sound" : `${Math.round(level)} dB`);
    this.#showPlays(listener.plays);
    this.#showCandidates(meter?.candidates ?? [], listener);
    this.sky.element.hidden = !["listening", "silent", "starting"].includes(listener.state);
    this.tick();
  }

  #showPlays(plays) {
    for (const [number, shown] of this.#plays) {
      if (!plays.some((play) => play.play === number)) {
        shown.element.remove();
        this.#plays.delete(number);
      }
    }
    for (const play of plays) {
      let shown = this.#plays.get(play.play);
      if (!shown) {
        shown = {
          title: h("p", { class: "title" }),
          by: h("p", { class: "by" }),
          bar: bar(0, "bar thick"),
          at: h("span", { class: "at" }),
          sure: h("span", { class: "muted" }),
        };
        shown.element = h("div", { class: "play" }, shown.title, shown.by, shown.bar, h("p", { class: "row small" }, shown.at, shown.sure));
        this.#plays.set(play.play, shown);
        this.playing.append(shown.element);
      }
      shown.play = play;
      say(shown.title, play.track.title);
      say(shown.by, byline(play.track) || "artist unknown");
      say(shown.sure, `since ${moment(play.started_at)} · ${certainty(play.confidence)} sure`);
    }
  }

  #showCandidates(candidates, listener) {
    if (candidates.length) {
      fill(
        this.maybe,
        h("p", { class: "small muted" }, "It may be"),
        h(
          "ol",
          { class: "plain candidates" },
          candidates
            .slice(0, 3)
            .map(({ track, confidence }) =>
              h(
                "li",
                {},
                h("span", { class: "what" }, named(track)),
                bar(confidence),
                h("span", { class: "small muted" }, `${Math.floor(confidence * 100)} %`),
              ),
            ),
        ),
      );
    } else if (!listener.plays.length) {
      fill(this.maybe, h("p", { class: "muted waiting-words" }, waiting(listener)));
    } else {
      fill(this.maybe);
    }
  }

  /** Move the positions on: between two words of the daemon time passes too. */
  tick() {
    const heard_s = this.#meter ? this.#meter.heard_s + Math.min(3, (performance.now() - this.#meter.at) / 1000) : null;
    for (const { play, bar: shownBar, at } of this.#plays.values()) {
      const ahead_s = heard_s === null ? 0 : Math.max(0, heard_s - play.end_s);
      const at_s = Math.min(play.track.duration_s, play.track_end_s + ahead_s);
      setBar(shownBar.firstChild, at_s / play.track.duration_s);
      say(at, `${clock(at_s)} of ${clock(play.track.duration_s)}`);
    }
  }
}

function waiting(listener) {
  if (listener.state === "listening") return "Listening. Nothing that it knows is playing.";
  if (listener.state === "silent") return "All is quiet.";
  if (listener.state === "paused") return "Paused: nothing is heard.";
  return listener.n_plays ? `${plural(listener.n_plays, "play")} heard so far.` : "Nothing heard yet.";
}
