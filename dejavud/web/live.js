// What goes on in the daemon, kept up by its events: the one place that views read it from.

const LATELY = 12;

/** Dispatches `listeners`, `meter` (with the listener's name), `tracks`, `jobs`, `recent`, `started` (a play) and `state`. */
export class Live extends EventTarget {
  listeners = new Map();
  meters = new Map();
  jobs = new Map();
  recent = [];
  isConnected = null; // null: nobody knows yet
  #daemon;
  #place = null;
  #wantsMeters = false;
  #stream = new AbortController();
  #onRefused;
  #n = 0; // of what events have changed

  constructor(daemon, onRefused) {
    super();
    this.#daemon = daemon;
    this.#onRefused = onRefused;
  }

  /** Ask for levels, once a second, or no longer: what nobody looks at costs the daemon nothing. */
  wantMeters(wanted) {
    if (wanted === this.#wantsMeters) return;
    this.#wantsMeters = wanted;
    this.#stream.abort(); // the next stream goes on where this one was
  }

  /** Follow the daemon for as long as the page is there, also over restarts of it. */
  async run() {
    for (;;) {
      this.#stream = new AbortController();
      try {
        await this.#follow(this.#stream.signal);
      } catch (error) {
        await this.#onRefused(error);
      }
    }
  }

  async #follow(signal) {
    const topics = ["match.", "listener.", "track.", "job.", "daemon.", ...(this.#wantsMeters ? ["meter."] : [])];
    const onState = (isConnected) => this.#turn(isConnected);
    const onPlace = (place) => (this.#place = place);
    for await (const event of this.#daemon.events({ topics, after: this.#place, signal, onState, onPlace })) this.#take(event);
  }

  #turn(isConnected) {
    if (isConnected === this.isConnected) return;
    this.isConnected = isConnected;
    if (!isConnected) this.meters.clear();
    this.#tell("state");
    if (isConnected) this.refresh();
  }

  /** Read anew what events only change. */
  async refresh() {
    const n = this.#n;
    try {
      const [listeners, { plays }, { jobs }] = await Promise.all([
        this.#daemon.listeners.list(),
        this.#daemon.matches.list({ limit: LATELY + 8 }),
        this.#daemon.request("GET", "/v1/jobs", { query: { state: "running" } }),
      ]);
      if (n !== this.#n) return await this.refresh(); // what was read may be older than what was told meanwhile
      this.jobs = new Map(jobs.map((job) => [job.id, job]));
      this.listeners = new Map(listeners.map((one) => [one.listener, one]));
      this.recent = plays.filter((play) => play.outcome !== "going").slice(0, LATELY);
      this.#tell("listeners", "recent", "tracks", "jobs");
    } catch (error) {
      await this.#onRefused(error);
    }
    return undefined;
  }

  #take({ topic, data }) {
    const [kind, verb] = topic.split(".");
    this.#n += ["listener", "match", "job"].includes(kind);
    if (topic === "meter.listener") {
      this.meters.set(data.listener, { ...data, at: performance.now() });
      this.dispatchEvent(new CustomEvent("meter", { detail: data.listener }));
    } else if (kind === "listener" && verb !== "overrun") {
      if (verb === "stopped") this.listeners.delete(data.listener);
      else this.listeners.set(data.listener, data);
      if (data.level_db === null) this.meters.delete(data.listener);
      this.#tell("listeners");
    } else if (kind === "match" && data.listener) {
      this.#played(verb, data);
    } else if (kind === "track") {
      this.#tell("tracks");
    } else if (kind === "job") {
      if (verb === "ended") this.jobs.delete(data.job.id);
      else this.jobs.set(data.job.id, data.job);
      this.#tell("jobs");
    } else if (topic === "daemon.ready") {
      this.refresh();
    }
  }

  #played(verb, play) {
    const listener = this.listeners.get(play.listener);
    if (!listener) return;
    const others = listener.plays.filter((one) => one.play !== play.play);
    this.listeners.set(play.listener, { ...listener, plays: verb === "ended" ? others : [...others, play] });
    this.#tell("listeners");
    if (verb === "started") this.dispatchEvent(new CustomEvent("started", { detail: play }));
    if (verb === "ended") {
      this.recent = [play, ...this.recent].slice(0, LATELY);
      this.#tell("recent");
    }
  }

  #tell(...names) {
    for (const name of names) this.dispatchEvent(new Event(name));
  }
}
