// Recognize: a file or the browser's microphone, and the answer as it grows.

import { answerCard, sentence } from "./answer.js";
import { bar, button, clock, fill, h, named, say, setBar } from "./dom.js";
import { openMicrophone, PIECE_S, wav, whyNot } from "./recorder.js";

const LONGEST_S = 30;
const AT_ONCE_S = 8;
const SOURCE = "this microphone";
const FLOOR_DB = -70;
const KEPT = 10;

export function recognizeView(app) {
  const input = h("input", { type: "file", accept: "audio/*,video/*", id: "clip", onchange: () => input.files[0] && file(input.files[0]) });
  const drop = h(
    "div",
    { class: "drop" },
    h("p", {}, h("label", { for: "clip", class: "button" }, "Choose a recording"), h("span", { class: "mouse" }, " or drop one here")),
    input,
    h("p", { class: "muted small" }, "Any format, any length; a few seconds are enough."),
  );
  const record = button("Record with this microphone", () => (recording ? recording.stop() : listen()), {
    class: "big record",
    id: "record",
  });
  const reason = whyNot();
  record.disabled = reason !== null;
  const level = h("i");
  const meter = h(
    "span",
    {
      class: "meter",
      role: "meter",
      "aria-label": "Level of the microphone",
      "aria-valuemin": FLOOR_DB,
      "aria-valuemax": 0,
      "aria-valuenow": FLOOR_DB,
    },
    level,
  );
  const elapsed = h("p", { class: "small muted", "aria-hidden": "true" });
  const maybe = h("ol", { class: "plain candidates" });
  const progress = h("div", { class: "card growing", hidden: true }, meter, elapsed, maybe);
  const answers = h("div", { class: "answers" });
  const status = h("p", { class: "hidden", role: "status" });
  const element = h(
    "section",
    { class: "view recognize" },
    h(
      "div",
      { class: "ask" },
      drop,
      h(
        "div",
        { class: "drop" },
        record,
        h("p", { class: "muted small" }, reason ?? `It listens until it is sure, ${LONGEST_S} seconds at most. Nothing is kept.`),
      ),
    ),
    progress,
    status,
    answers,
  );
  let recording = null;

  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    element.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) file(event.dataTransfer.files[0]);
    });
  }

  function show(recognition) {
    answers.prepend(answerCard(recognition));
    while (answers.children.length > KEPT) answers.lastChild.remove();
    say(status, sentence(recognition));
  }

  function grow({ seconds, level_db, candidates, words }) {
    progress.hidden = false;
    if (level_db !== undefined) {
      setBar(level, 1 - level_db / FLOOR_DB);
      meter.setAttribute("aria-valuenow", Math.max(FLOOR_DB, Math.min(0, Math.round(level_db))));
    }
    meter.hidden = level_db === undefined;
    say(elapsed, words ?? `${clock(seconds)} heard`);
    if (candidates) {
      fill(
        maybe,
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
      );
    }
  }

  function rest() {
    progress.hidden = true;
    fill(maybe);
  }

  async function file(chosen) {
    say(status, `Asking about ${chosen.name}`);
    await app.attempt(async () => {
      const onProgress = (share) =>
        grow({ words: share < 1 ? `Sending ${chosen.name}: ${Math.round(share * 100)} %` : `Listening to ${chosen.name} …` });
      onProgress(0);
      show(await app.daemon.recognize(chosen, { name: chosen.name, onProgress }));
    });
    rest();
    input.value = "";
  }

  async function listen() {
    let stop = null;
    const stopped = new Promise((resolve) => (stop = resolve));
    recording = { stop };
    say(record, "Starting …");
    await app.attempt(async () => {
      const session = await app.daemon.session().catch(unlessRefused); // a proxy may have no WebSocket
      try {
        show(await (session ? asked(session, stopped) : askedAtOnce(stopped)));
      } finally {
        session?.close();
      }
    });
    recording = null;
    say(record, "Record with this microphone");
    record.classList.remove("on");
    rest();
  }

  /** The answer about what the microphone hears, which the daemon gives as soon as it is sure. */
  async function asked(session, stopped) {
    let [query, candidates] = [null, []];
    const waiting = [];
    const microphone = await heard((samples, seconds, level_db) => {
      if (query) query.write(samples);
      else waiting.push(samples);
      grow({ seconds, level_db, candidates });
    });
    try {
      const onProgress = (figures) => (candidates = figures.candidates ?? candidates);
      query = session.stream("recognize", { source: SOURCE, pcm: microphone.pcm, limit_s: LONGEST_S }, { onProgress });
      waiting.forEach(query.write);
      stopped.then(query.end);
      return await query.result;
    } finally {
      await microphone.close();
      query?.end();
    }
  }

  /** The same over HTTP: all that was heard until somebody stops it, or it is enough. */
  async function askedAtOnce(stopped) {
    const pieces = [];
    const microphone = await heard((samples, seconds, level_db) => {
      pieces.push(samples);
      grow({ seconds, level_db });
      if (seconds >= AT_ONCE_S) recording.stop();
    });
    await stopped;
    await microphone.close();
    return app.daemon.recognize(wav(pieces, microphone.pcm), { name: SOURCE });
  }

  async function heard(onPiece) {
    let seconds = 0;
    const microphone = await openMicrophone((samples, level_db) => onPiece(samples, (seconds += PIECE_S), level_db));
    record.classList.add("on");
    say(record, "Stop and answer");
    app.announce("Listening");
    return microphone;
  }

  return { element, hide: () => document.hidden || recording?.stop() };
}

function unlessRefused(error) {
  if (error instanceof TypeError) return null;
  throw error;
}
