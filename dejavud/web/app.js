// The page: which view is shown, whether the daemon is there, and what is said and asked beside the views.

import { Dejavud, DejavudError } from "./dejavud.js";
import { button, h, named, say } from "./dom.js";
import { healthView } from "./health.js";
import { historyView } from "./history.js";
import { libraryView } from "./library.js";
import { listenersView } from "./listeners.js";
import { Live } from "./live.js";
import { nowView } from "./now.js";
import { recognizeView } from "./recognize.js";

const VIEWS = {
  now: ["Now", nowView],
  recognize: ["Recognize", recognizeView],
  library: ["Library", libraryView],
  history: ["History", historyView],
  listeners: ["Listeners", listenersView],
  health: ["Health", healthView],
};
const TOKEN = "dejavud.token";
const THEME = "dejavud.theme";
const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const by = (id) => document.getElementById(id);

const daemon = new Dejavud(location.origin, { token: sessionStorage.getItem(TOKEN) || null });
const live = new Live(daemon, refused);
const app = { daemon, live, attempt, announce, toast, confirm, refused };
const shown = new Map();
let current = null;

// -- what is said and asked --------------------------------------------------------------------------------------------

/** Have a screen reader say something. */
function announce(text) {
  say(by("announcer"), text);
}

/** Say something for a while; what went wrong stays longer. */
function toast(text, isWrong = false) {
  const note = h("p", { class: isWrong ? "toast wrong" : "toast" }, text);
  by("toasts").append(note);
  setTimeout(() => note.remove(), isWrong ? 9000 : 4500);
}

/** Do something; what goes wrong is said. Returns its result, undefined where it failed. */
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    await refused(error, true);
    return undefined;
  }
}

/** Deal with a failure: without the right token it is asked for, and a daemon that is away is said by the banner. */
async function refused(error, isSaid = false) {
  if (error instanceof DejavudError && error.code === "unauthorized") return askToken();
  if (error.name === "AbortError") return undefined;
  if (!(error instanceof DejavudError)) console[error instanceof TypeError ? "debug" : "error"](error);
  if (isSaid) toast(error instanceof TypeError ? `The daemon cannot be reached: ${error.message}` : error.message, true);
  if (error.code === "forbidden" && !isSaid) toast(`What goes on is not shown: ${error.message}`, true);
  return new Promise((resolve) => setTimeout(resolve, isSaid ? 0 : error.code === "forbidden" ? 60_000 : 2000));
}

let asking = null;

/** Ask a question that is answered by yes or no; `field` also asks for a token. Returns whether it was yes. */
function ask(title, text, yes, { field = false, isDangerous = false } = {}) {
  const dialog = by("dialog");
  say(by("dialog-title"), title);
  say(by("dialog-text"), text);
  say(by("dialog-yes"), yes);
  by("dialog-yes").className = isDangerous ? "danger" : "";
  by("dialog-field").hidden = !field;
  by("dialog-no").hidden = field;
  by("dialog-input").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

function confirm(title, text, yes) {
  return ask(title, text, yes, { isDangerous: true });
}

/** Have the right token, asked for once for all who were refused; it is kept until the tab is closed. */
function askToken() {
  asking ??= untilLetIn().finally(() => (asking = null));
  return asking;
}

async function untilLetIn() {
  let words = daemon.token ? await whyRefused() : "This daemon answers those who have its token.";
  if (!words) return; // refused was what asked before the token was there
  while (words) {
    await ask("Who are you?", `${words} It is kept until you close this tab.`, "Continue", { field: true });
    daemon.token = by("dialog-input").value.trim() || null;
    words = await whyRefused();
  }
  sessionStorage.setItem(TOKEN, daemon.token ?? "");
  await live.refresh();
  shown.get(current)?.show?.();
}

/** Why the token that is there does not let us in, by a single question: the daemon counts those who guess. */
async function whyRefused() {
  try {
    await daemon.listeners.list();
  } catch (error) {
    if (error.code === "unauthorized") return daemon.token ? "This daemon does not know that token." : "It takes a token.";
    if (error.code === "rate_limited") return `${error.message}.`;
  }
  return "";
}

// -- which view is shown -----------------------------------------------------------------------------------------------

function route() {
  const name = location.hash.slice(2).split("?")[0];
  const next = name in VIEWS ? name : "now";
  const isFirst = current === null;
  if (next === current) return;
  const before = shown.get(current);
  before?.hide?.();
  if (before) before.element.hidden = true;
  current = next;
  const [title, make] = VIEWS[next];
  if (!shown.has(next)) {
    const view = make(app);
    view.element.prepend(h("h1", { tabindex: "-1" }, title));
    shown.set(next, view);
    by("main").append(view.element);
  }
  const view = shown.get(next);
  view.element.hidden = false;
  view.show?.();
  for (const link of by("nav").children) {
    if (link.getAttribute("href") === `#/${next}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  entitle();
  watch();
  if (!isFirst) {
    scrollTo(0, 0);
    view.element.querySelector("h1").focus({ preventScroll: true });
  }
}

/** What plays is the window's title: a tab in the background tells it too. */
function entitle() {
  const [play] = [...live.listeners.values()].flatMap((listener) => listener.plays);
  document.title = play ? `♪ ${named(play.track)}` : `${VIEWS[current ?? "now"][0]} · dejavud`;
}

/** Levels are wanted while somebody can see them. */
function watch() {
  live.wantMeters(!document.hidden && (current === "now" || current === "listeners"));
}

// -- dark and light ----------------------------------------------------------------------------------------------------

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  say(by("theme-words"), `Colours: ${THEMES[theme]}`);
  by("theme").title = `Colours: ${THEMES[theme]}`;
  dispatchEvent(new Event("themechange"));
}

by("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(localStorage.getItem(THEME) ?? "auto") + 1) % names.length];
  localStorage.setItem(THEME, next);
  setTheme(next);
});

// -- all of it ---------------------------------------------------------------------------------------------------------

by("skip").addEventListener("click", (event) => {
  event.preventDefault();
  by("main").focus();
});
by("nav").addEventListener("click", (event) => {
  if (event.target.closest("a")?.getAttribute("aria-current")) scrollTo(0, 0);
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  watch();
  const view = shown.get(current);
  if (document.hidden) view?.hide?.();
  else view?.show?.();
});
live.addEventListener("state", async () => {
  const away = by("away");
  away.hidden = live.isConnected;
  say(away, live.isConnected ? "" : "The daemon is away. What you see may be out of date; it is looked for until it is back.");
  if (!live.isConnected) return;
  const version = import.meta.url.split("/").at(-2);
  const page = await fetch("/", { method: "HEAD", cache: "no-store" }).catch(() => null); // away again: the next time tells
  if (page?.ok && !page.headers.get("etag").includes(version)) {
    away.hidden = false;
    away.replaceChildren(
      "The daemon has been upgraded, and this page with it. ",
      button("Load it anew", () => location.reload(), { class: "quiet" }),
    );
  }
});
live.addEventListener("listeners", entitle);
live.addEventListener("started", ({ detail: play }) => announce(`Now on ${play.listener}: ${named(play.track)}`));

const known = localStorage.getItem(THEME);
setTheme(known in THEMES ? known : "auto");
route();
live.run();
