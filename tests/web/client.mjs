// The JavaScript client against a running daemon: node client.mjs CLIENT URL RECORDING RAW_PCM [follow]
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const [client, url, recording, pcm, mode] = process.argv.slice(2);
const { Dejavud, DejavudError } = await import(client);
const daemon = new Dejavud(url, { token: "a-token-of-ours" });

if (mode === "follow") {
  const onState = (isConnected) => console.log(isConnected ? "connected" : "away");
  for await (const { topic, data } of daemon.events({ topics: ["listener.started"], onState })) {
    console.log(topic, data.listener);
    if (data.listener === "last") process.exit(0);
  }
}

const { track, added } = await daemon.tracks.add(await readFile(recording), { name: "piece.wav", title: "Low Sun" });
assert.equal(added, true);
assert.equal((await daemon.tracks.edit(track.id, { artist: "Ida Morrow" })).artist, "Ida Morrow");
assert.deepEqual((await daemon.tracks.list({ search: "morrow", artist: null })).tracks.map(({ id }) => id), [track.id]);
assert.equal((await daemon.tracks.change({ ids: [track.id] }, { disabled: true })).n_updated, 1);
await daemon.tracks.change({ ids: [track.id] }, { disabled: false });
assert.equal((await daemon.tracks.get(track.id)).disabled, false);

const answer = await daemon.recognize(await readFile(recording), { name: "clip.wav", limit_s: 5 });
assert.equal(answer.matches[0].track.id, track.id);
assert.equal(answer.query.source, "clip.wav");

const session = await daemon.session();
const asked = session.stream("recognize", { pcm: "s16le:22050:1", source: "made now" });
const samples = await readFile(pcm);
for (let at = 0; at < samples.length; at += 8820) await asked.write(samples.subarray(at, at + 8820));
asked.end();
asked.end(); // a second end is none
assert.equal((await asked.result).matches[0].track.id, track.id);
const told = [];
const unknown = session.stream("recognize", { pcm: "s16le:8000:1" }, { onProgress: (figures) => told.push(figures) });
for (let second = 0; second < 3; second += 1) await unknown.write(Int16Array.from({ length: 8000 }, (_, n) => 9000 * Math.sin(n * n * 1e-4)));
unknown.end();
assert.deepEqual((await unknown.result).matches, []);
assert.ok(told.length > 0 && told[0].heard_s > 0 && told[0].level_db < 0 && Array.isArray(told[0].candidates));
assert.equal((await session.call("ping")).pong, true);
await assert.rejects(session.call("tracks.get", { id: 999 }), (error) => error instanceof DejavudError && error.code === "track_not_found");
session.close();
await session.closed;

await assert.rejects(daemon.tracks.get(999), (error) => error.code === "track_not_found" && error.status === 404 && error.details.track === 999);
await assert.rejects(new Dejavud(url, { token: "another one" }).status(), (error) => error.code === "unauthorized" && error.status === 401);
await assert.rejects(new Dejavud("http://127.0.0.1:9").status(), TypeError);

assert.equal((await daemon.listeners.add("bar & grill/ü", "pcm:s16le:48000:1")).listener, "bar & grill/ü");
assert.equal((await daemon.listeners.pause("bar & grill/ü")).listener, "bar & grill/ü");
await daemon.listeners.resume("bar & grill/ü");
assert.deepEqual((await daemon.listeners.peaks("bar & grill/ü")).heard, { time_s: [], hz: [] });
await daemon.listeners.remove("bar & grill/ü");
assert.deepEqual(await daemon.listeners.list(), []);
assert.deepEqual((await daemon.matches.list({ day: "today" })).plays, []);
assert.match(await (await daemon.matches.csv()).text(), /^id,/);

let place = "0";
const topics = [];
for (let n = 0; n < 2; n += 1) {
  for await (const event of daemon.events({ topics: ["track."], after: place, onPlace: (id) => (place = id) })) {
    topics.push(event.topic);
    break; // and once more from there: nothing is missed or told twice
  }
}
assert.deepEqual(topics, ["track.added", "track.updated"]);
const stop = new AbortController();
for await (const { topic } of daemon.events({ topics: ["track."], after: "0", signal: stop.signal })) if (topic) stop.abort();
assert.equal((await daemon.tracks.remove({ ids: [track.id] })).n_removed, 1);
console.log("done");
