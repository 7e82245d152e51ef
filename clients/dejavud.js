/**
 * A client of dejavud for browsers and for Node 20 and later (22 for a WebSocket): one file, no dependencies. The daemon's own web page is
 * made with it. docs/protocol.md tells what parameters and answers hold.
 *
 *     const daemon = new Dejavud("http://127.0.0.1:4141");
 *     const { matches } = await daemon.recognize(await readFile("clip.mp3"), { name: "clip.mp3" });
 *     console.log(matches[0]?.track.title ?? "no match");
 *     for await (const { topic, data } of daemon.events({ topics: ["match."] })) console.log(topic, data.track?.title);
 */

const sleep = (time_ms) => new Promise((resolve) => setTimeout(resolve, time_ms));
const QUIET_MS = 60_000; // the daemon says something every 15 s
const FULL_BYTES = 1 << 20; // so much sound may wait in a WebSocket to be sent
const PASSING = [429, 502, 503, 504, undefined]; // statuses after which it is tried again; or there was none

/** What the daemon refuses: a stable `code` for programs, `message` for people, `details`, and the HTTP `status` where there was one. */
export class DejavudError extends Error {
  constructor({ code, message, details = {} }, status = null) {
    super(message);
    Object.assign(this, { name: "DejavudError", code, details, status });
  }
}

const refusal = (status, text) =>
  new DejavudError(text.startsWith('{"error":') ? JSON.parse(text).error : { code: "internal_error", message: `an answer of status ${status} that is none of dejavud's` }, status);

/** One daemon, over HTTP; `session` opens a WebSocket to it. Where it cannot be reached, a `TypeError` is thrown, as by `fetch`. */
export class Dejavud {
  /** @param {string} [base] where it is; by default where the page came from. @param {{token?: string | null}} [options] `token` may be set later, too. */
  constructor(base = globalThis.location?.origin, { token = null } = {}) {
    Object.assign(this, { base: base.replace(/\/+$/, ""), token });
    const get = (path) => (query = {}, options = {}) => this.request("GET", path, { query, ...options });
    const at = (method, verb = "") => (name) => this.request(method, `/v1/listeners/${encodeURIComponent(name)}${verb}`);
    /** How the daemon is. */
    this.status = get("/v1/status");
    /** The library. `list` takes `search`, `sort`, `limit`, `cursor` …; `change` and `remove` a selection such as `{ ids: [7, 8] }`. */
    this.tracks = {
      list: get("/v1/tracks"),
      get: async (id) => (await this.request("GET", `/v1/tracks/${id}`)).track,
      add: (audio, options) => this.#upload("/v1/tracks", audio, options),
      edit: async (id, change) => (await this.request("PATCH", `/v1/tracks/${id}`, { json: change })).track,
      change: (query, change) => this.request("PATCH", "/v1/tracks", { query, json: change }),
      remove: (query) => this.request("DELETE", "/v1/tracks", { query }),
    };
    /** What listens. `peaks` is what one heard in its last seconds, as a picture. */
    this.listeners = {
      list: async () => (await this.request("GET", "/v1/listeners")).listeners,
      add: (name, source, { once = false } = {}) => this.request("POST", "/v1/listeners", { json: { name, source, once } }),
      pause: at("POST", "/pause"), resume: at("POST", "/resume"), remove: at("DELETE"), peaks: at("GET", "/peaks"),
      devices: async () => (await this.request("GET", "/v1/devices")).devices,
    };
    /** What they heard. All take `listener`, `search`, `day`, `since`, `until`, `zone` …; `csv` gives a `Response`. */
    const csv = (query = {}) => this.send("GET", "/v1/matches.csv", { query });
    this.matches = { list: get("/v1/matches"), summary: get("/v1/matches/summary"), csv };
  }

  /**
   * What a recording is, or a part of one, in any format.
   * @param {BodyInit} audio @param {{name?: string, limit_s?: number, signal?: AbortSignal, onProgress?: (share: number) => void}} [options]
   */
  recognize = (audio, options) => this.#upload("/v1/recognize", audio, options);

  /**
   * What happens, from now on or after the event with the id `after`, which `onPlace` is told. Cut off, it connects again by itself and misses
   * nothing; it ends by `signal`, and throws where the daemon refuses for good.
   * @param {{topics?: string[], after?: string, signal?: AbortSignal, onState?: (isConnected: boolean) => void, onPlace?: (id: string) => void}} [options]
   */
  async *events({ topics = [], after = null, signal, onState = () => {}, onPlace = () => {} } = {}) {
    let [place, isThere] = [after, null];
    const turn = (isConnected) => isConnected === isThere || onState((isThere = isConnected));
    for (let pause_ms = 500; !signal?.aborted; pause_ms = Math.min(2 * pause_ms, 8000)) {
      const life = new AbortController();
      const both = AbortSignal.any([life.signal, ...(signal ? [signal] : [])]);
      try {
        const headers = place === null ? {} : { "Last-Event-ID": place };
        const response = await this.send("GET", "/v1/events", { query: { topics }, headers, signal: both });
        turn(true);
        for await (const { id, data } of messages(response.body, () => life.abort())) {
          pause_ms = 500;
          if (id) onPlace((place = id));
          if (data) yield JSON.parse(data);
        }
      } catch (error) {
        if (!PASSING.includes(error.status) || !["DejavudError", "TypeError", "AbortError"].includes(error.name)) throw error;
      } finally {
        life.abort(); // also where who asked has had enough
      }
      if (signal?.aborted) return;
      turn(false);
      await sleep(pause_ms * (0.75 + Math.random() / 2));
    }
  }

  /** A WebSocket session, on which sound can be sent while it is made. `url` is found out where it is not given. */
  async session(url = null) {
    const here = new URL(this.base);
    const port = url ?? new URL([(await this.status()).endpoints.websocket].flat()[0]).port;
    return Session.open(url ?? `${here.protocol === "https:" ? "wss" : "ws"}://${here.hostname}:${port}/`, this.token);
  }

  /** The JSON that an address answers with; throws a `DejavudError`. */
  request = async (method, path, options) => (await this.send(method, path, options)).json();

  /** The `Response` of an address that did not refuse. What is null, undefined or "" in `query` is left out; lists are joined by commas. */
  async send(method, path, { query = {}, json, body, headers = {}, signal } = {}) {
    const [content, type] = json === undefined ? [body, {}] : [JSON.stringify(json), { "Content-Type": "application/json" }];
    const response = await fetch(this.#url(path, query), { method, body: content, headers: { ...this.#identity(), ...type, ...headers }, signal });
    if (!response.ok) throw refusal(response.status, await response.text());
    return response;
  }

  /** As `request`; where the browser can, `onProgress` is told what share of the body has been sent. */
  #upload(path, body, { onProgress, signal, ...query } = {}) {
    if (!onProgress || !globalThis.XMLHttpRequest) return this.request("POST", path, { query, body, signal });
    return new Promise((resolve, reject) => {
      const sending = new XMLHttpRequest();
      const taken = () => (sending.abort(), reject(new DOMException("the upload was taken back", "AbortError")));
      sending.open("POST", this.#url(path, query));
      for (const [name, value] of Object.entries(this.#identity())) sending.setRequestHeader(name, value);
      sending.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 1);
      sending.onload = () => (sending.status < 300 ? resolve(JSON.parse(sending.responseText)) : reject(refusal(sending.status, sending.responseText)));
      sending.onerror = () => reject(new TypeError("the connection was lost"));
      signal?.addEventListener("abort", taken);
      return signal?.aborted ? taken() : sending.send(body);
    });
  }

  #identity = () => (this.token ? { Authorization: `Bearer ${this.token}` } : {});
  #url(path, query) {
    const given = Object.entries(query).filter(([, value]) => (value ?? "") !== "" && String(value) !== "");
    return `${this.base}${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
  }
}

/** A WebSocket that speaks `dejavud.v1`: any number of commands at a time, one of them with sound. */
export class Session {
  #calls = new Map();
  #last = 0;

  /** Returns an open session. A token goes along as a second subprotocol: a browser's WebSocket sends no headers. */
  static open(url, token = null) {
    const shown = token ? [`dejavud.token.${encodeURIComponent(token).replace(/[()]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`] : [];
    return new Promise((resolve, reject) => {
      const session = new Session(new WebSocket(url, ["dejavud.v1", ...shown]));
      session.socket.onopen = () => resolve(session);
      session.closed.then(() => reject(new TypeError(`no WebSocket answers at ${url}`)));
    });
  }

  constructor(socket) {
    Object.assign(this, { socket, close: () => socket.close() });
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    /** Resolved when the session has ended, with why. */
    this.closed = new Promise((resolve) => (socket.onclose = ({ code, reason }) => resolve(reason || `closed (${code})`)));
    this.closed.then((reason) => this.#calls.forEach(({ reject }) => reject(new TypeError(`the connection was lost: ${reason}`))));
  }

  /** What a command answers. @param {{onProgress?: (figures: object) => void, signal?: AbortSignal}} [options] */
  call(method, params = {}, { onProgress, signal, audio } = {}) {
    const id = (this.#last += 1);
    signal?.addEventListener("abort", () => this.#calls.has(id) && this.call("cancel", { id }).catch(() => {}));
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, onProgress });
      this.socket.send(JSON.stringify({ id, method, params, ...(audio ? { audio } : {}) }));
    });
  }

  /** A command that hears sound while it is made: `write` pieces of it, each awaited while the daemon is behind, then `end`; `result` may come before. */
  stream(method, params = {}, options = {}) {
    const result = this.call(method, params, { ...options, audio: "stream" });
    const write = async (piece) => {
      this.socket.send(piece);
      while (this.socket.bufferedAmount > FULL_BYTES && this.socket.readyState === 1) await sleep(20);
    };
    let isOver = false;
    const end = () => (isOver ||= this.socket.readyState !== 1 || (this.socket.send(new Uint8Array(0)), true));
    return { result, write, end };
  }

  #take({ id, method, params, result, error }) {
    if (method === "progress") return this.#calls.get(params.id)?.onProgress?.(params);
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return error ? call?.reject(new DejavudError(error.data)) : call?.resolve(result);
  }
}

/** The messages of a stream of server-sent events; `end` is called where it is quiet for too long. */
async function* messages(body, end) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const watch = setTimeout(end, QUIET_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(watch));
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) yield Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  }
}
