// Health: how the daemon is, in words first and in figures below.

import { button, bytes, fill, h, moment, number, plural, say, span } from "./dom.js";

const EVERY_MS = 3000;

export function healthView(app) {
  const verdict = h("p", { class: "verdict", role: "status" });
  const worries = h("ul", { class: "worries" });
  const jobs = h("ul", { class: "plain jobs" });
  const working = h("section", { class: "card", hidden: true, "aria-labelledby": "jobs" }, h("h2", { id: "jobs" }, "At work"), jobs);
  const figures = h("div", { class: "cards" });
  const element = h("section", { class: "view health" }, h("div", { class: "card" }, verdict, worries), working, figures);
  let timer = 0;

  async function look() {
    const status = await app.daemon.status().catch((error) => app.refused(error));
    if (status) show(status);
    else if (!app.live.isConnected) say(verdict, "The daemon does not answer.");
    if (timer) timer = setTimeout(look, EVERY_MS);
  }

  function show(status) {
    const troubles = worriesOf(status);
    say(
      verdict,
      troubles.length
        ? troubles.length === 1
          ? "One thing needs a look."
          : `${number(troubles.length)} things need a look.`
        : "All is well.",
    );
    element.classList.toggle("worried", troubles.length > 0);
    fill(
      worries,
      troubles.map((words) => h("li", {}, words)),
    );
    fill(
      figures,
      figuresOf(status).map(([title, rows]) =>
        h(
          "section",
          { class: "card" },
          h("h2", {}, title),
          h(
            "dl",
            {},
            rows.filter(([, value]) => value).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
          ),
        ),
      ),
    );
  }

  function work() {
    working.hidden = app.live.jobs.size === 0;
    fill(
      jobs,
      [...app.live.jobs.values()].map((job) =>
        h(
          "li",
          { class: "row" },
          h("b", {}, job.command),
          h("span", { class: "muted" }, `since ${moment(job.started_at)} ${progress(job.progress ?? {})}`),
          button("Cancel", () => app.attempt(() => app.daemon.request("DELETE", `/v1/jobs/${job.id}`)), {
            class: "quiet",
            "aria-label": `Cancel ${job.command}`,
          }),
        ),
      ),
    );
  }

  app.live.addEventListener("jobs", work);
  return {
    element,
    show() {
      work();
      timer ||= setTimeout(look, 0);
    },
    hide() {
      clearTimeout(timer);
      timer = 0;
    },
  };
}

function progress(figures) {
  const pairs = [
    ["n_done", "n_total"],
    ["done_s", "total_s"],
    ["n_songs_done", "n_songs"],
  ];
  const [done, total] = pairs.find(([name]) => figures[name] !== undefined) ?? [];
  if (!done) return "";
  return figures[total] ? `· ${Math.floor((100 * figures[done]) / figures[total])} %` : `· ${number(Math.round(figures[done]))}`;
}

/** What a person should look at, in sentences. */
function worriesOf({ index, listeners, history, hooks, troubles, loop, queries }) {
  return [
    !index.reachable && "The database is away. What the daemon has in memory still answers; nothing can be added.",
    ...listeners.filter((one) => one.state === "retrying").map((one) => `${one.listener}: ${one.reason}`),
    listeners.some((one) => one.n_overruns > 0) &&
      `Sound was lost by ${listeners
        .filter((one) => one.n_overruns > 0)
        .map((one) => one.listener)
        .join(", ")}: the machine is too slow for all that it does.`,
    history.n_waiting > 0 &&
      history.reason &&
      `${plural(history.n_waiting, "play")} wait to be written into the history: ${history.reason}`,
    ...hooks.filter((hook) => hook.state === "retrying").map((hook) => `The hook ${hook.hook} fails: ${hook.last_error}`),
    loop.longest_turn_s > 0.5 && `The daemon was held up for ${loop.longest_turn_s.toFixed(1)} s within the last minute.`,
    troubles.last &&
      troubles.last.event !== "listener_state" &&
      Date.now() - Date.parse(troubles.last.at) < 3600_000 &&
      `Its log complained at ${moment(troubles.last.at)}: ${troubles.last.event.replaceAll("_", " ")}${troubles.last.reason ? ` (${troubles.last.reason})` : ""}`,
    queries.n_failed > 0 &&
      queries.n_failed > (queries.n_matched + queries.n_unmatched) / 4 &&
      `${plural(queries.n_failed, "question")} could not be answered.`,
  ].filter(Boolean);
}

function figuresOf(status) {
  const { index, workers, process: own, queries, history, engine, microphone } = status;
  return [
    [
      "Library",
      [
        ["Tracks", number(status.n_tracks)],
        ["Disabled", status.n_disabled && number(status.n_disabled)],
        ["Music", span(status.duration_s)],
        ["Postings", number(status.n_postings)],
        ["On disk", bytes(index.size_bytes)],
        ["Answers from", index.answers_from],
        ["Profile", engine.profile],
      ],
    ],
    [
      "Questions",
      [
        ["Answered", number(queries.n_matched)],
        ["No match", number(queries.n_unmatched)],
        ["Failed", number(queries.n_failed)],
        ["Plays kept", history.n_plays !== undefined && number(history.n_plays)],
      ],
    ],
    [
      "Daemon",
      [
        ["Version", status.version],
        ["Up for", span(status.uptime_s)],
        ["Memory", bytes(own.memory_bytes)],
        ["Processor", `${span(own.cpu_s)} used`],
        ["Workers", workersOf(workers)],
        ["Microphone", microphone.available ? "there" : microphone.reason],
        ["Log", `${plural(status.troubles.n_warnings, "warning")}, ${plural(status.troubles.n_errors, "error")}`],
      ],
    ],
  ];
}

function workersOf(workers) {
  const shown = ["n_processes", "n_running", "n_busy", "n_waiting"].filter((name) => workers[name] !== undefined);
  return shown.map((name) => `${number(workers[name])} ${name.slice(2)}`).join(", ");
}
