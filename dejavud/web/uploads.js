// Adding recordings: files, or a whole folder, each with its progress and all of them together.

import { bar, button, bytes, fill, h, number, plural, say, setBar } from "./dom.js";

const AT_ONCE = 2;
const SHOWN_DONE = 20;
const AGAIN_MS = 1000;
const PASSING = ["busy", "rate_limited", "shutting_down"];
const AUDIO =
  /\.(aac|ac3|aif|aiff|alac|amr|ape|au|avi|caf|dsf|flac|flv|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpc|mpeg|mpg|oga|ogg|ogv|opus|ra|spx|tta|wav|webm|wma|wv)$/i;

/** A panel of its own state; `onAdded` is called when the library has got something. */
export function uploadPanel(app, onAdded) {
  const files = h("input", { type: "file", multiple: true, id: "files", accept: "audio/*,video/*", onchange: () => take(files) });
  const folder = h("input", { type: "file", webkitdirectory: true, id: "folder", onchange: () => take(folder) });
  const drop = h(
    "div",
    { class: "drop slim" },
    h(
      "p",
      {},
      h("label", { for: "files", class: "button" }, "Add recordings"),
      " ",
      h("label", { for: "folder", class: "button quiet" }, "Add a folder"),
      h("span", { class: "muted mouse" }, " or drop them here"),
    ),
    files,
    folder,
  );
  const inside = h("i");
  const words = h("p", { role: "status" });
  const stop = button("Stop", () => end(), { class: "quiet" });
  const list = h("ul", { class: "plain uploads" });
  const progress = h(
    "div",
    { class: "card", hidden: true },
    h("div", { class: "row between" }, words, stop),
    h("span", { class: "bar thick", "aria-hidden": "true" }, inside),
    list,
  );
  const panel = h("div", {}, drop, progress);
  let [queue, going, counts, abort] = [[], new Map(), null, null];

  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") dropped(event.dataTransfer).then(add);
    });
  }

  function take(input) {
    const isFolder = input === folder;
    add([...input.files].filter((file) => !isFolder || AUDIO.test(file.name)));
    input.value = "";
  }

  function add(more) {
    if (!more.length) return app.toast("There is no audio in that.", true);
    if (!counts) {
      counts = { n: 0, done: 0, added: 0, known: 0, failed: 0, bytes: 0, sent: 0 };
      abort = new AbortController();
      fill(list);
    }
    queue.push(...more);
    counts.n += more.length;
    counts.bytes += more.reduce((sum, file) => sum + file.size, 0);
    progress.hidden = false;
    stop.hidden = false;
    for (let n = going.size; n < AT_ONCE && queue.length; n += 1) work();
    return tell();
  }

  async function work() {
    for (let file = queue.shift(); file; file = queue.shift()) await upload(file);
    if (!going.size && !queue.length) finish();
  }

  /** Send a file, again where the daemon has too much to do, or is away: a folder of thousands is sent for hours. */
  async function patiently(file, { onProgress, signal }) {
    for (let n = 0; ; n += 1) {
      try {
        return await app.daemon.tracks.add(file, { name: file.webkitRelativePath || file.name, onProgress, signal });
      } catch (error) {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        const isAway = error instanceof TypeError && (n === 0 || !app.live.isConnected);
        if (signal.aborted || !(isAway || PASSING.includes(error.code))) throw error;
      }
    }
  }

  async function upload(file) {
    const state = h("span", { class: "small muted" }, "waiting");
    const own = bar(0);
    const line = h("li", {}, h("span", { class: "what" }, file.name), own, state);
    list.prepend(line);
    going.set(line, 0);
    const { signal } = abort;
    const onProgress = (share) => {
      going.set(line, share * file.size);
      setBar(own.firstChild, share);
      say(state, share < 1 ? `${Math.round(share * 100)} % of ${bytes(file.size)}` : "fingerprinting");
      tell();
    };
    try {
      const {
        track,
        added,
        duplicates = [],
      } = await patiently(file, { onProgress, signal });
      counts[added ? "added" : "known"] += 1;
      say(
        state,
        added
          ? duplicates.length
            ? `added; the same recording as ${duplicates[0].track.title}`
            : "added"
          : `known already: ${track.title}`,
      );
      line.classList.add("done");
      if (added) onAdded();
    } catch (error) {
      if (signal.aborted) say(state, "stopped");
      else {
        counts.failed += 1;
        line.classList.add("wrong");
        say(state, error.message);
        if (error.code === "unauthorized") app.refused(error);
      }
    }
    own.remove();
    going.delete(line);
    counts.done += 1;
    counts.sent += file.size;
    [...list.querySelectorAll("li.done")].slice(SHOWN_DONE).forEach((old) => old.remove());
    tell();
  }

  function tell() {
    if (!counts) return;
    const underway = [...going.values()].reduce((sum, sent) => sum + sent, 0);
    setBar(inside, (counts.sent + underway) / counts.bytes);
    const parts = [counts.known && `${number(counts.known)} known already`, counts.failed && `${number(counts.failed)} failed`].filter(
      Boolean,
    );
    say(words, `${number(counts.done)} of ${plural(counts.n, "recording")}: ${[`${number(counts.added)} added`, ...parts].join(", ")}`);
  }

  function end() {
    queue = [];
    abort.abort();
  }

  function finish() {
    if (!counts) return;
    const { added, failed } = counts;
    app.toast(`${plural(added, "recording")} added${failed ? `, ${number(failed)} failed` : ""}.`, failed > 0);
    stop.hidden = true;
    counts = null;
    onAdded();
  }

  return panel;
}

/** All audio that was dropped, folders searched to the bottom. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const found = [];
  for (let entry = entries.shift(); entry; entry = entries.shift()) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (AUDIO.test(file.name) || file.type.startsWith("audio/")) found.push(file);
    } else {
      const reader = entry.createReader();
      for (let some = await read(reader); some.length; some = await read(reader)) entries.push(...some);
    }
  }
  return found;
}

function read(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}
