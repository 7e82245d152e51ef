// The history: what was heard, from when to when, and how often; to be taken along as CSV or JSON.

import { bar, button, byline, clock, fill, h, moment, number, plural, say, select, span } from "./dom.js";

const PAGE = 100;
const EXPORTED = 1000;
const PERIODS = { today: "Today", yesterday: "Yesterday", "7d": "Last 7 days", "30d": "Last 30 days", "": "Always", between: "Between …" };
const BY = { "": "Each play", track: "By track", artist: "By artist", listener: "By listener", day: "By day", hour: "By hour" };
const OUTCOMES = {
  going: "going on",
  unheard: "",
  source_lost: "source lost",
  source_ended: "source ended",
  paused: "paused",
  stopped: "stopped",
  cut_off: "cut off",
};
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function historyView(app) {
  const { matches } = app.daemon;
  const search = h("input", { type: "search", placeholder: "Words of title, artist or album", oninput: () => later() });
  const [listener, listenerField] = select("Listener", { "": "All" }, load);
  const [period, periodField] = select("When", PERIODS, load);
  const [by, byField] = select("Show", BY, load);
  const since = h("input", { type: "date", onchange: load });
  const until = h("input", { type: "date", onchange: load });
  const dates = h(
    "div",
    { class: "row", hidden: true },
    h("label", { class: "field" }, h("span", {}, "From"), since),
    h("label", { class: "field" }, h("span", {}, "To the end of"), until),
  );
  const count = h("p", { class: "muted", role: "status" });
  const body = h("div", { class: "result" });
  const more = button("Older ones", () => show(cursor), { class: "quiet" });
  const element = h(
    "section",
    { class: "view history" },
    h("div", { class: "tools" }, h("label", { class: "field grow" }, h("span", {}, "Search"), search), listenerField, periodField, byField),
    dates,
    h(
      "div",
      { class: "row between" },
      count,
      h("div", { class: "row" }, button("Export CSV", csv, { class: "quiet" }), button("Export JSON", json, { class: "quiet" })),
    ),
    body,
    more,
  );
  let [cursor, plays, asked, timer] = [null, [], null, 0];
  period.value = "7d";

  function meant() {
    const when =
      period.value === "between"
        ? { since: since.value, until: until.value && dayAfter(until.value) }
        : /^\d/.test(period.value)
          ? { since: period.value }
          : { day: period.value };
    return { search: search.value.trim(), listener: listener.value, zone: ZONE, ...when };
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(load, 200);
  }

  function load() {
    dates.hidden = period.value !== "between";
    return show(null);
  }

  async function show(from) {
    asked?.abort();
    asked = new AbortController();
    const { signal } = asked;
    await app.attempt(async () => {
      if (by.value) {
        const summary = await matches.summary({ ...meant(), by: by.value }, { signal });
        more.hidden = true;
        fill(body, summary.groups.length ? summaryTable(summary) : nothing());
        say(count, `${plural(summary.n_plays, "play")} of ${plural(summary.n_tracks, "track")}, ${span(summary.heard_s)} in all`);
        return;
      }
      const page = await matches.list({ ...meant(), limit: PAGE, cursor: from }, { signal });
      plays = from ? [...plays, ...page.plays] : page.plays;
      cursor = page.next;
      more.hidden = cursor === null;
      fill(body, plays.length ? playTable(plays) : nothing());
      say(count, plays.length ? `${plural(plays.length, "play")}${cursor ? " so far" : ""}` : "");
    });
  }

  async function csv() {
    const response = await app.attempt(() => matches.csv(meant()));
    if (response) save(await response.blob(), "matches.csv");
  }

  async function json() {
    await app.attempt(async () => {
      const found = [];
      let next = null;
      do {
        const page = await matches.list({ ...meant(), limit: EXPORTED, cursor: next });
        found.push(...page.plays);
        next = page.next;
      } while (next);
      save(new Blob([JSON.stringify(found, null, 1)], { type: "application/json" }), "matches.json");
    });
  }

  let isShown = false;
  for (const kind of ["recent", "started"]) app.live.addEventListener(kind, () => isShown && later());
  return {
    element,
    show() {
      isShown = true;
      const known = listener.value;
      fill(
        listener,
        h("option", { value: "" }, "All"),
        [...app.live.listeners.keys()].map((name) => h("option", { value: name }, name)),
      );
      listener.value = app.live.listeners.has(known) ? known : "";
      load();
    },
    hide: () => (isShown = document.hidden && isShown),
  };
}

function nothing() {
  return h("p", { class: "empty" }, "Nothing was heard that is like that.");
}

function playTable(plays) {
  return h(
    "table",
    { class: "plays" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "When"),
        h("th", { scope: "col" }, "What"),
        h("th", { scope: "col", class: "wide" }, "Heard"),
        h("th", { scope: "col", class: "wide" }, "Where"),
      ),
    ),
    h(
      "tbody",
      {},
      plays.map((play) =>
        h(
          "tr",
          {},
          h("td", { class: "when" }, h("time", { datetime: play.started_at }, moment(play.started_at))),
          h(
            "td",
            { class: "what" },
            h("b", {}, play.track.title),
            OUTCOMES[play.outcome] && h("span", { class: "chip" }, OUTCOMES[play.outcome]),
            h("br"),
            h("span", { class: "muted" }, byline(play.track)),
          ),
          h("td", { class: "wide number" }, clock(play.heard_s)),
          h("td", { class: "wide muted" }, play.listener),
        ),
      ),
    ),
  );
}

function summaryTable({ by, groups }) {
  const most = Math.max(...groups.map((group) => group.n_plays));
  return h(
    "table",
    { class: "plays" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, by[0].toUpperCase() + by.slice(1)),
        h("th", { scope: "col" }, "Plays"),
        h("th", { scope: "col" }, "Heard"),
        h("th", { scope: "col", class: "wide" }, "Last"),
      ),
    ),
    h(
      "tbody",
      {},
      groups.map((group) =>
        h(
          "tr",
          {},
          h(
            "td",
            { class: "what" },
            h("b", {}, words(group, by)),
            by === "track" && h("span", { class: "muted" }, ` ${byline(group.track)}`),
            bar(group.n_plays / most),
          ),
          h("td", { class: "number" }, number(group.n_plays)),
          h("td", { class: "number" }, span(group.heard_s)),
          h("td", { class: "wide muted" }, moment(group.last_at)),
        ),
      ),
    ),
  );
}

function words(group, by) {
  if (by === "track") return group.track.title;
  return (by === "hour" ? group.hour.slice(0, 16).replace("T", " ") : group[by]) ?? "artist unknown";
}

function dayAfter(day) {
  const next = new Date(`${day}T12:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
