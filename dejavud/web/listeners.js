// Listeners: what is listened to, how each of them is, and more of them.

import { button, fill, h, number, plural, say, select, setBar, span, time } from "./dom.js";
import { stateChip } from "./now.js";

const KINDS = { mic: "A microphone of the daemon's machine", url: "A station or stream", pcm: "Sound that a program sends" };

export function listenersView(app) {
  const { listeners } = app.daemon;
  const list = h("div", { class: "cards" });
  const empty = h("p", { class: "empty", hidden: true }, "Nothing is listened to yet. Add a microphone or a station below.");
  const name = h("input", { required: true, maxlength: 64, autocomplete: "off", placeholder: "kitchen" });
  const [kind, kindField] = select("What it hears", KINDS, choose);
  const [device, deviceField] = select("Microphone", { mic: "The default one" });
  const address = h("input", { type: "url", placeholder: "https://radio.example/live.mp3", autocomplete: "off" });
  const addressField = h("label", { class: "field grow", hidden: true }, h("span", {}, "Address"), address);
  const once = h("input", { type: "checkbox" });
  const form = h(
    "form",
    { class: "card", onsubmit: add, "aria-labelledby": "add-listener" },
    h("h2", { id: "add-listener" }, "Add a listener"),
    h("div", { class: "tools" }, h("label", { class: "field" }, h("span", {}, "Name"), name), kindField, deviceField, addressField),
    h("label", { class: "check" }, once, " only until the daemon is restarted"),
    h("p", {}, h("button", {}, "Listen")),
  );
  const element = h("section", { class: "view listeners" }, empty, list, form);
  const levels = new Map();

  function choose() {
    deviceField.hidden = kind.value !== "mic";
    addressField.hidden = kind.value !== "url";
    address.required = kind.value === "url";
  }

  async function add(event) {
    event.preventDefault();
    const source = { mic: device.value, url: address.value.trim(), pcm: "pcm:s16le:48000:1" }[kind.value];
    const added = await app.attempt(() => listeners.add(name.value.trim(), source, { once: once.checked }));
    if (!added) return;
    app.toast(`${added.listener} listens.`);
    form.reset();
    choose();
  }

  async function remove(listener) {
    if (
      !(await app.confirm(
        "Remove this listener?",
        `${listener} stops listening and is forgotten. What it heard stays in the history.`,
        "Remove",
      ))
    )
      return;
    await app.attempt(() => listeners.remove(listener));
    element.querySelector("h1").focus();
  }

  function update() {
    empty.hidden = app.live.listeners.size > 0 || !app.live.isConnected;
    const focused = document.activeElement?.dataset?.key;
    fill(list, [...app.live.listeners.values()].map(card));
    if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  function card(listener) {
    const id = `settings-of-${[...app.live.listeners.keys()].indexOf(listener.listener)}`;
    const isPaused = listener.state === "paused" || listener.state === "ended";
    const level = h("i");
    levels.set(listener.listener, level);
    setBar(level, listener.level_db === null ? 0 : 1 + listener.level_db / 70);
    const facts = [
      ["Source", listener.source],
      ["Format", listener.format],
      ["Heard", `${span(listener.heard_s)}, ${plural(listener.n_plays, "play")}`],
      ["Late by", listener.lag_s > 2 && `${number(listener.lag_s)} s`],
      ["Sound lost", listener.n_overruns > 0 && plural(listener.n_overruns, "time")],
      [
        "Tried again",
        listener.n_retries > 0 &&
          `${plural(listener.n_retries, "time")}${listener.next_try_at ? `, next at ${time(listener.next_try_at)}` : ""}`,
      ],
      ["Why", listener.reason],
      ["Kept", listener.remembered ? null : "until the daemon ends"],
    ];
    const turn = isPaused
      ? ["Resume", () => app.attempt(() => listeners.resume(listener.listener))]
      : ["Pause", () => app.attempt(() => listeners.pause(listener.listener))];
    return h(
      "article",
      { class: "card listener", "aria-labelledby": id },
      h("header", {}, h("h2", { id }, listener.listener), stateChip(listener)),
      h("span", { class: "meter", "aria-hidden": "true" }, level),
      h(
        "dl",
        {},
        facts.filter(([, value]) => value).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
      ),
      h(
        "div",
        { class: "row" },
        button(...turn, { class: "quiet", "data-key": `turn ${listener.listener}`, "aria-label": `${turn[0]} ${listener.listener}` }),
        button("Remove", () => remove(listener.listener), {
          class: "quiet danger",
          "data-key": `remove ${listener.listener}`,
          "aria-label": `Remove ${listener.listener}`,
        }),
      ),
    );
  }

  async function devices() {
    const found = await listeners.devices().catch(() => []);
    fill(
      device,
      h("option", { value: "mic" }, "The default one"),
      found.map((one) => h("option", { value: `mic:${one.name}` }, one.name)),
    );
    say(deviceField.firstChild, found.length ? "Microphone" : "Microphone (none is there now)");
  }

  app.live.addEventListener("listeners", update);
  app.live.addEventListener("meter", ({ detail }) =>
    setBar(levels.get(detail) ?? h("i"), 1 + (app.live.meters.get(detail).level_db ?? -70) / 70),
  );
  choose();
  return {
    element,
    show() {
      update();
      app.live.refresh();
      devices();
    },
  };
}
