// The library: found, changed in place, added to.

import { button, byline, clock, fill, h, moment, named, number, plural, say, select } from "./dom.js";
import { uploadPanel } from "./uploads.js";

const PAGE = 50;
const PAUSE_MS = 200;
const SORTS = { added: "Newest first", title: "Title", artist: "Artist", album: "Album", duration: "Length" };
const STATES = { all: "All tracks", enabled: "Enabled", disabled: "Disabled" };

export function libraryView(app) {
  const { tracks } = app.daemon;
  const search = h("input", { type: "search", placeholder: "Words of title, artist, album or file", oninput: () => later(PAUSE_MS) });
  const [sort, sortField] = select("Order", SORTS, restart, { id: "sort" });
  const [state, stateField] = select("Show", STATES, restart);
  const count = h("p", { class: "muted", role: "status" });
  const all = h("input", { type: "checkbox", "aria-label": "Select all on this page", onchange: () => choose(all.checked) });
  const rows = h("tbody");
  const table = h(
    "table",
    { class: "tracks" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, all),
        h("th", { scope: "col" }, "Track"),
        h("th", { scope: "col", class: "wide" }, "Length"),
        h("th", { scope: "col", class: "wide" }, "Added"),
        h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")),
      ),
    ),
    rows,
  );
  const chosenCount = h("span");
  const chosenBar = h(
    "div",
    { class: "selection", role: "group", "aria-label": "The selected tracks", hidden: true },
    chosenCount,
    button("Enable", () => turn([...chosen], false), { class: "quiet" }),
    button("Disable", () => turn([...chosen], true), { class: "quiet" }),
    button("Remove", () => remove([...chosen]), { class: "quiet danger" }),
  );
  const before = button("Previous", () => page(-1), { class: "quiet" });
  const after = button("Next", () => page(1), { class: "quiet" });
  const empty = h("p", { class: "empty", hidden: true });
  const panel = uploadPanel(app, () => later(500));
  const element = h(
    "section",
    { class: "view library" },
    h("div", { class: "tools" }, h("label", { class: "field grow" }, h("span", {}, "Search"), search), sortField, stateField),
    panel,
    h("div", { class: "row between counted" }, count, chosenBar),
    table,
    empty,
    h("div", { class: "row pages" }, before, after),
  );
  const chosen = new Set();
  let [cursors, place, shown, timer, asked] = [[null], 0, [], 0, null];

  function later(pause_ms) {
    clearTimeout(timer);
    timer = setTimeout(pause_ms === PAUSE_MS ? restart : load, pause_ms);
  }

  function restart() {
    [cursors, place] = [[null], 0];
    chosen.clear();
    load();
  }

  function page(step) {
    place += step;
    chosen.clear();
    load().then(() => table.scrollIntoView({ block: "nearest" }));
  }

  async function load() {
    asked?.abort(); // a newer question: the older answer would overwrite it
    asked = new AbortController();
    const query = {
      search: search.value.trim(),
      state: state.value,
      sort: sort.value,
      reverse: sort.value === "added",
      limit: PAGE,
      cursor: cursors[place],
    };
    const result = await app.attempt(() => tracks.list(query, { signal: asked.signal }));
    if (!result) return;
    cursors[place + 1] = result.next;
    shown = result.tracks;
    const first = place * PAGE;
    say(count, result.n_total ? `${number(first + 1)} to ${number(first + shown.length)} of ${plural(result.n_total, "track")}` : "");
    empty.hidden = result.n_total > 0;
    table.hidden = result.n_total === 0;
    fill(
      empty,
      query.search || query.state !== "all"
        ? "No track is like that."
        : "The library is empty. Add recordings above: what is not in it cannot be recognized.",
    );
    [before.hidden, after.hidden] = [place === 0, result.next === null];
    renew();
    chosen.forEach((id) => shown.some((track) => track.id === id) || chosen.delete(id));
    countChosen();
  }

  function renew() {
    const line = rows.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
    if (line?.classList.contains("editing")) return;
    const [id, label] = [line?.dataset.track, document.activeElement.ariaLabel]; // who is at a row by keyboard stays there
    fill(rows, shown.map(row));
    if (line) rows.querySelector(`tr[data-track="${id}"] [aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  function row(track) {
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Select ${track.title}`,
      onchange: () => (box.checked ? chosen.add(track.id) : chosen.delete(track.id), countChosen()),
    });
    box.checked = chosen.has(track.id);
    const line = h(
      "tr",
      { class: track.disabled ? "disabled" : null, "data-track": track.id },
      h("td", {}, box),
      h(
        "td",
        { class: "what" },
        h("b", {}, track.title),
        track.disabled && h("span", { class: "chip" }, "disabled"),
        h("br"),
        h("span", { class: "muted" }, byline(track) || "artist unknown"),
      ),
      h("td", { class: "wide number" }, clock(track.duration_s)),
      h("td", { class: "wide muted" }, moment(track.added_at)),
      h(
        "td",
        { class: "actions" },
        button("Edit", () => edit(track, line), { class: "quiet", "aria-label": `Edit ${track.title}` }),
        button(track.disabled ? "Enable" : "Disable", () => turn([track.id], !track.disabled), {
          class: "quiet",
          "aria-label": `${track.disabled ? "Enable" : "Disable"} ${track.title}`,
        }),
        button("Remove", () => remove([track.id], track), { class: "quiet danger", "aria-label": `Remove ${track.title}` }),
      ),
    );
    return line;
  }

  function edit(track, line) {
    const fields = ["title", "artist", "album"].map((name) =>
      h("input", {
        name,
        "aria-label": name[0].toUpperCase() + name.slice(1),
        placeholder: name[0].toUpperCase() + name.slice(1),
        value: track[name] ?? "",
        required: name === "title",
      }),
    );
    const close = (shownTrack) => {
      const fresh = row(shownTrack);
      line.replaceWith(fresh);
      fresh.querySelector("button").focus();
    };
    const save = async (event) => {
      event.preventDefault();
      const changed = fields.filter((field) => field.value.trim() !== (track[field.name] ?? ""));
      const change = Object.fromEntries(changed.map((field) => [field.name, field.value.trim()]));
      const saved = changed.length ? await app.attempt(() => tracks.edit(track.id, change)) : track;
      if (saved) close(saved);
    };
    const form = h(
      "form",
      { class: "edit", onsubmit: save, onkeydown: (event) => event.key === "Escape" && close(track) },
      fields,
      h("button", {}, "Save"),
      button("Cancel", () => close(track), { class: "quiet" }),
    );
    line.classList.add("editing");
    fill(line, h("td", { colspan: 5 }, form));
    fields[0].focus();
    fields[0].select();
  }

  async function turn(ids, disabled) {
    const result = await app.attempt(() => tracks.change({ ids }, { disabled }));
    if (result) app.toast(`${plural(result.n_updated, "track")} ${disabled ? "disabled: kept, and named in no answer" : "enabled"}.`);
    load();
  }

  async function remove(ids, track = null) {
    const what = track ? `“${named(track)}”` : plural(ids.length, "track");
    if (!(await app.confirm("Remove from the library?", `${what} will not be recognized any more. No file of yours is touched.`, "Remove")))
      return;
    const result = await app.attempt(() => tracks.remove({ ids }));
    if (result) app.toast(`${plural(result.n_removed, "track")} removed.`);
    ids.forEach((id) => chosen.delete(id));
    await load();
    element.querySelector("h1").focus();
  }

  function choose(wanted) {
    for (const box of rows.querySelectorAll("input[type=checkbox]")) box.checked = wanted;
    chosen.clear();
    if (wanted) shown.forEach((track) => chosen.add(track.id));
    countChosen();
  }

  function countChosen() {
    chosenBar.hidden = chosen.size === 0;
    say(chosenCount, `${plural(chosen.size, "track")} selected`);
    all.checked = shown.length > 0 && chosen.size === shown.length;
    all.indeterminate = chosen.size > 0 && !all.checked;
  }

  let isShown = false;
  app.live.addEventListener("tracks", () => isShown && later(700));
  return {
    element,
    show() {
      isShown = true;
      load();
    },
    hide() {
      isShown = document.hidden && isShown;
    },
  };
}
