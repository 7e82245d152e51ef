/**
 * A client of dejavud for browsers and Node (20 or later; 22 where it has to have a WebSocket of its own): no dependencies, one file.
 * The daemon's own web page is made with it, and is served this very file.
 *
 *     import { Dejavud } from "./dejavud.js";
 *     const daemon = new Dejavud("http://127.0.0.1:4141");
 *     const answer = await daemon.recognize(await readFile("clip.mp3"), { name: "clip.mp3" });
 *     console.log(answer.matches[0]?.track.title ?? "no match");
 *     for await (const event of daemon.events({ topics: ["match."] })) console.log(event.topic, event.data.track.title);
 *
 * docs/protocol.md tells what parameters and answers hold.
 */

const QUIET_MS = 60_000; // the daemon says something every 15 s
const FULL_BYTES = 1 << 20; // as much sound may wait in a WebSocket to be sent

/** What the daemon refuses: a stable `code` for programs, `message` for people, `details`, and the HTTP `status` where there was one. */
export class DejavudError extends Error {
  constructor({ code, message, details = {} }, status = null) {
    super(message);
    Object.assign(this, { name: "DejavudError", code, details, status });
  }
}

/** One daemon, over HTTP; `session` opens a WebSocket to it. A connection that fails throws what `fetch` does, a `TypeError`. */
export class Dejavud {
  /**
   * @param {string} [base] where it is; in a page that the daemon serves, there.
   * @param {{token?: string | null}} [options] a token, where the daemon has one; `token` may be changed later.
   */
  constructor(base = globalThis.location?.origin, { token = null } = {}) {
    this.base = base.replace(/\/+$/, "");
    this.token = token;
    const list = (path) => (query = {}, options = {}) => this.request("GET", path, { query, ...options });
    const named = (name, verb = "") => `/v1/listeners/${encodeURIComponent(name)}${verb}`;
    /** The library. `list` takes `search`, `sort`, `reverse`, `limit`, `cursor` …; `change` and `remove` a selection such as `{ ids: [7, 8] }`. */
    this.tracks = {
      list: list("/v1/tracks"),
      get: async (id) => (await this.request("GET", `/v1/tracks/${id}`)).track,
      add: (audio, { onProgress, signal, ...query } = {}) => this.upload("/v1/tracks", audio, { query, onProgress, signal }),
      edit: async (id, change) => (await this.request("PATCH", `/v1/tracks/${id}`, { json: change })).track,
      change: (query, change) => this.request("PATCH", "/v1/tracks", { query, json: change }),
      remove: (query) => this.request("DELETE", "/v1/tracks", { query }),
    };
    /** What listens. `peaks` is what one heard in its last seconds, as a picture. */
    this.listeners = {
      list: async () => (await this.request("GET", "/v1/listeners")).listeners,
      add: (name, source, { once = false } = {}) => this.request("POST", "/v1/listeners", { json: { name, source, once } }),
      pause: (name) => this.request("POST", named(name, "/pause")),
      resume: (name) => this.request("POST", named(name, "/resume")),
      remove: (name) => this.request("DELETE", named(name)),
      peaks: (name, options) => this.request("GET", named(name, "/peaks"), options),
      devices: async () => (await this.request("GET", "/v1/devices")).devices,
    };
    /** The history: what listeners heard. All take `listener`, `search`, `day`, `since`, `until`, `zone` …; `csv` gives a `Response`. */
    this.matches = { list: list("/v1/matches"), summary: list("/v1/matches/summary"), csv: (query) => this.send("GET", "/v1/matches.csv", { query }) };
    /** How the daemon is. */
    this.status = list("/v1/status");
  }

  /**
   * What a recording is, or a part of one.
   * @param {BodyInit} audio its bytes, in any format.
   * @param {{name?: string, limit_s?: number, signal?: AbortSignal, onProgress?: (share: number) => void}} [options]
   */
  recognize(audio, { onProgress, signal, ...query } = {}) {
    return this.upload("/v1/recognize", audio, { query, onProgress, signal });
  }

  /**
   * Everything that happens, from now on or after the event with the id `after`: cut off, it reconnects by itself and misses nothing.
   * Ends with `signal`; throws where the daemon refuses for good.
   * @param {{topics?: string[], after?: string, signal?: AbortSignal, onState?: (isConnected: boolean) => void, onPlace?: (id: string) => void}} [options]
   *   `onPlace` is told each place that may be given as `after`.
   */
  async *events({ topics = [], after = null, signal, onState = () => {}, onPlace = () => {} } = {}) {
    let place = after;
    for (let pause_ms = 500; !signal?.aborted; pause_ms = Math.min(2 * pause_ms, 8000)) {
      const life = new AbortController();
      const end = () => life.abort();
      signal?.addEventListener("abort", end);
      try {
        const headers = place === null ? {} : { "Last-Event-ID": place };
        const response = await this.send("GET", "/v1/events", { query: { topics }, headers, signal: life.signal });
        onState(true);
        for await (const { id, data } of messages(response.body, end)) {
          pause_ms = 500;
          if (id) onPlace((place = id));
          if (data) yield JSON.parse(data);
        }
      } catch (error) {
        if (error instanceof DejavudError && ![429, 502, 503, 504].includes(error.status)) throw error;
      } finally {
        life.abort(); // also where the consumer has had enough
        signal?.removeEventListener("abort", end);
      }
      if (signal?.aborted) return;
      onState(false);
      await sleep(pause_ms * (0.75 + Math.random() / 2), signal);
    }
  }

  /** A WebSocket session, on which sound can be sent while it is made. `url` is found out where it is not given. */
  async session(url = null) {
    const found = url ?? websocketOf(this.base, (await this.status()).endpoints.websocket);
    return Session.open(found, this.token);
  }

  /** The JSON that an address answers with; throws a `DejavudError`. */
  async request(method, path, options) {
    return (await this.send(method, path, options)).json();
  }

  /** The `Response` of an address that did not refuse. Lists in `query` are separated by commas; what is null, undefined or "" is left out. */
  async send(method, path, { query = {}, json, body, headers = {}, signal } = {}) {
    const sent = { ...this.#authorization(), ...headers, ...(json === undefined ? {} : { "Content-Type": "application/json" }) };
    const init = { method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal, cache: "no-store" };
    const response = await fetch(this.#url(path, query), init);
    if (!response.ok) throw refusal(response.status, await response.text());
    return response;
  }

  /** As `request`, and says what share of `body` has been sent, which only browsers can. */
  upload(path, body, { query = {}, onProgress, signal } = {}) {
    if (!onProgress || !globalThis.XMLHttpRequest) return this.request("POST", path, { query, body, signal });
    return new Promise((resolve, reject) => {
      const sending = new XMLHttpRequest();
      sending.open("POST", this.#url(path, query));
      for (const [name, value] of Object.entries(this.#authorization())) sending.setRequestHeader(name, value);
      sending.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      sending.onload = () => (sending.status < 300 ? resolve(JSON.parse(sending.responseText)) : reject(refusal(sending.status, sending.responseText)));
      sending.onerror = () => reject(new TypeError("the daemon cannot be reached"));
      sending.onabort = () => reject(new DOMException("the upload was taken back", "AbortError"));
      signal?.addEventListener("abort", () => sending.abort());
      if (signal?.aborted) sending.onabort();
      else sending.send(body);
    });
  }

  #authorization() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  #url(path, query) {
    const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && String(value) !== "");
    return `${this.base}${path}${given.length ? "?" : ""}${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
  }
}

/** A WebSocket that speaks `dejavud.v1`: any number of commands at a time, one of them with sound. */
export class Session {
  #calls = new Map();
  #followers = new Map();
  #n = 0;

  /** Returns an open session. A token goes along as a second subprotocol, as browsers cannot send headers. */
  static open(url, token = null) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, ["dejavud.v1", ...(token ? [`dejavud.token.${token}`] : [])]);
      const session = new Session(socket);
      socket.onopen = () => resolve(session);
      socket.onclose = (event) => (reject(new TypeError(`no WebSocket at ${url}`)), session.#end(event));
    });
  }

  /** @param {WebSocket} socket @private */
  constructor(socket) {
    this.socket = socket;
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    /** Settled, with why, when the session has ended. */
    this.closed = new Promise((resolve) => (this.#end = (event) => resolve(this.#giveUp(event.reason || `the connection was closed (${event.code})`))));
  }
  #end;

  /**
   * The result of a command.
   * @param {{sound?: Blob | BufferSource, onProgress?: (figures: object) => void, signal?: AbortSignal}} [options] `sound` is a whole file.
   */
  async call(method, params = {}, { sound, onProgress, signal } = {}) {
    const { result } = this.#ask(method, params, sound && true, onProgress, signal);
    if (sound) for (const piece of [sound, new Uint8Array(0)]) this.socket.send(piece);
    return result;
  }

  /** A command that hears sound while it is made: `write` pieces of it, which waits while the daemon is behind, and `end`. `result` comes when it is known. */
  stream(method, params = {}, { onProgress, signal } = {}) {
    const { result } = this.#ask(method, params, "stream", onProgress, signal);
    const write = async (piece) => {
      this.socket.send(piece);
      while (this.socket.bufferedAmount > FULL_BYTES && this.socket.readyState === 1) await sleep(20);
    };
    return { result, write, end: () => this.socket.readyState === 1 && this.socket.send(new Uint8Array(0)) };
  }

  /** Calls `onEvent` with each event of some topics. */
  async subscribe({ topics = [], ...place }, onEvent) {
    const { subscription } = await this.call("events.subscribe", { topics, ...place }, { onProgress: null });
    this.#followers.set(subscription, onEvent);
    return subscription;
  }

  close() {
    this.socket.close();
  }

  #ask(method, params, audio, onProgress, signal) {
    const id = ++this.#n;
    const result = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, onProgress }));
    this.socket.send(JSON.stringify({ id, method, params, ...(audio ? { audio } : {}) }));
    signal?.addEventListener("abort", () => this.#calls.has(id) && this.#ask("cancel", { id }).result.catch(() => {}));
    return { id, result };
  }

  #take({ id, method, params, result, error }) {
    if (method === "progress") return this.#calls.get(params.id)?.onProgress?.(params);
    if (method === "event") return this.#followers.get(params.subscription)?.(params.event);
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return error ? call?.reject(new DejavudError(error.data)) : call?.resolve(result);
  }

  #giveUp(reason) {
    for (const { reject } of this.#calls.values()) reject(new TypeError(reason));
    this.#calls.clear();
    return reason;
  }
}

/** Where a browser finds the daemon's WebSocket: its port, under the name by which the daemon is called. */
function websocketOf(base, endpoints) {
  const [here, there] = [new URL(base), new URL([endpoints].flat()[0] ?? "ws://127.0.0.1:4242")];
  return `${here.protocol === "https:" ? "wss" : "ws"}://${here.hostname}:${there.port || 4242}/`;
}

/** The messages of a stream of server-sent events, comments as empty ones; one that is quiet for too long is ended by `end`. */
async function* messages(body, end) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const watch = setTimeout(end, QUIET_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(watch));
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) yield Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  }
}

function refusal(status, text) {
  try {
    return new DejavudError(JSON.parse(text).error, status);
  } catch {
    return new DejavudError({ code: "internal_error", message: `the answer has status ${status} and is none of dejavud's` }, status);
  }
}

function sleep(time_ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time_ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()));
  });
}
