// Elements and words: what every view is made of.

/** An element; `on…` are listeners, null and false leave an attribute out, texts become text and nothing else. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put `children` in the place of what `element` holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** Change a text only where it is another one: what did not change is not read out again, and selections stay. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

/** A choice among `options` (words by value), and the field that has its label. */
export function select(label, options, onchange, attributes = {}) {
  const chooser = h(
    "select",
    { onchange, ...attributes },
    Object.entries(options).map(([value, words]) => h("option", { value }, words)),
  );
  return [chooser, h("label", { class: "field" }, h("span", {}, label), chooser)];
}

/** A bar that is filled to a share, for what the text beside it says already. */
export function bar(share, className = "bar") {
  const inside = h("i");
  setBar(inside, share);
  return h("span", { class: className, "aria-hidden": "true" }, inside);
}

export function setBar(inside, share) {
  inside.style.setProperty("--share", Math.max(0, Math.min(1, share || 0)).toFixed(3));
}

/** Minutes and seconds, as players show them. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** How long something took or goes on, to be read. */
export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${number(Math.round(seconds / 86400))} days`;
}

export function number(value) {
  return Number(value ?? 0).toLocaleString();
}

export function plural(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  for (; value >= 1000 && place < 4; place += 1) value /= 1000;
  return `${value < 10 && place ? value.toFixed(1) : Math.round(value)} ${units[place]}`;
}

/** How sure an answer is, never rounded up to certainty. */
export function certainty(confidence) {
  if (confidence >= 0.9999) return "more than 99.99 %";
  return confidence >= 0.995 ? `${(Math.floor(confidence * 10000) / 100).toFixed(2)} %` : `${Math.floor(confidence * 100)} %`;
}

export function time(iso) {
  return new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function moment(iso) {
  const date = new Date(iso);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return time(iso);
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return `${date.toLocaleDateString([], { day: "numeric", month: "short", year })}, ${time(iso)}`;
}

/** Artist and album of a track, as one line; empty where neither is known. */
export function byline(track) {
  return [track.artist, track.album].filter(Boolean).join(" · ");
}

export function named(track) {
  return track.artist ? `${track.title} by ${track.artist}` : track.title;
}
