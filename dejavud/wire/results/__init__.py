"""What commands answer: the shapes of their results, as JSON has them.

Written once, for the OpenAPI document, for the pages made of it, and for the test that holds every answer over every door against them.  Keys may be added
to them; a program ignores those that it does not know.
"""

from dejavud.wire.results import access, answers, daemon, listening, past, tracks, work

RESULTS: dict[str, type] = {
    "status": daemon.Status,
    "metrics": daemon.Metrics,
    "ready": daemon.Ready,
    "recognize": answers.Recognition,
    "recognize_microphone": answers.Recognition,
    "scan": answers.Timeline,
    "fingerprint": tracks.Added,
    "tracks.list": tracks.TrackPage,
    "tracks.get": tracks.OneTrack,
    "tracks.known": tracks.KnownTracks,
    "tracks.edit": tracks.UpdatedTracks,
    "tracks.enable": tracks.UpdatedTracks,
    "tracks.disable": tracks.UpdatedTracks,
    "tracks.remove": tracks.RemovedTracks,
    "devices": listening.Devices,
    "listen.list": listening.Listeners,
    "listen.peaks": listening.ListenerPeaks,
    "listen.add": listening.Listener,
    "listen.send": listening.HeardSound,
    "listen.remove": listening.RemovedListener,
    "listen.pause": listening.Listener,
    "listen.resume": listening.Listener,
    "events.replay": past.Events,
    "jobs.list": work.Jobs,
    "jobs.get": work.OneJob,
    "jobs.cancel": work.CancelledJob,
    "history.list": past.Plays,
    "history.summary": past.PlaySummary,
    "history.remove": past.RemovedPlays,
    "hooks.list": daemon.Hooks,
    "hooks.test": daemon.HookTests,
    "migrate": work.Migration,
    "compact": work.Compacted,
    "check": work.Checked,
    "export": work.Archived,
    "import": work.Archived,
    "backup": work.Archived,
    "restore": work.Archived,
    "access.list": access.Tokens,
    "access.add": access.AddedToken,
    "access.remove": access.RemovedToken,
    "keys.list": access.Keys,
    "keys.add": access.AddedKey,
    "keys.remove": access.RemovedKey,
    "reload": daemon.Reloaded,
    "shutdown": daemon.Stopping,
}
"""By command."""
