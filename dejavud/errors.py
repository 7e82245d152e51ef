"""Everything that can go wrong, each with a stable code and a sentence that helps.

A class is a kind of failure.  Its ``code`` is part of the public interface (HTTP bodies, JSON-RPC errors, logs, the
client's exit status: ``dejavud.wire.codes`` maps it), its ``template`` becomes the message, and the fields of the
template are kept as ``details`` for programs.  A third party's exception is converted where its library is called.
"""

from __future__ import annotations

from typing import ClassVar


class DejavudError(Exception):
    """The root: raise one of the subclasses with the fields its template names."""

    code: ClassVar[str] = "internal_error"
    template: ClassVar[str] = "something went wrong inside the daemon: {reason}"

    def __init__(self, **details: object) -> None:
        self.details = details
        self.message = self.template.format(**details)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        """Cross a process border whole: workers raise these and the daemon reports them."""
        return (_rebuild, (type(self), self.details))


def _rebuild(kind: type[DejavudError], details: dict[str, object]) -> DejavudError:
    return kind(**details)


class InternalError(DejavudError):
    """A bug of ours that was contained at the border of one request."""


# -- what the caller sent -------------------------------------------------------------------------------------------


class InvalidRequest(DejavudError):
    """A request that is not of the form the command asks for."""

    code = "invalid_request"
    template = "{reason}"


class UnknownCommand(DejavudError):
    """A command that this daemon does not have."""

    code = "unknown_command"
    template = "there is no command {command!r}; this daemon knows: {known}"


class Unauthorized(DejavudError):
    """The token is missing or wrong."""

    code = "unauthorized"
    template = "this daemon asks for a token, and what you sent is none of its: send the header 'Authorization: Bearer TOKEN' (dejavuctl: --token)"


class Forbidden(DejavudError):
    """Who asks may not: his token lacks the scope, or it is a foreign web page, or a name that is not this machine's."""

    code = "forbidden"
    template = "{reason}"


class KeyNotFound(DejavudError):
    """No client has a key of this name."""

    code = "key_not_found"
    template = "no client has a key {name!r}; there are: {known}"


class RateLimited(DejavudError):
    """One client asks for more than one may; others are not held up."""

    code = "rate_limited"
    template = "{client} has had its {what}; try again in {retry_after_s} s"

    def __init__(self, *, client: str, what: str, retry_after_s: float) -> None:
        super().__init__(client=client, what=what, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class NotFound(DejavudError):
    """Nothing is served at this address."""

    code = "not_found"
    template = "there is nothing at {path!r}"


class MethodNotAllowed(DejavudError):
    """The address is served, but not for this method."""

    code = "method_not_allowed"
    template = "{path!r} does not take {method}"


class RequestCancelled(DejavudError):
    """The caller took the request back before it was done."""

    code = "cancelled"
    template = "the request was cancelled by its caller"


class TooLarge(DejavudError):
    """More bytes than the daemon accepts."""

    code = "too_large"
    template = "{what} is larger than the limit of {limit_bytes} bytes (limits.upload_bytes in the daemon's conf)"


class Timeout(DejavudError):
    """The work was not done within its deadline and was stopped."""

    code = "timeout"
    template = "{what} took longer than {limit_s} s and was stopped"


class Busy(DejavudError):
    """A bounded queue is full."""

    code = "busy"
    template = "the daemon has all the work it takes at a time ({what}); try again shortly"


class TokenNotFound(DejavudError):
    """No token has this name."""

    code = "token_not_found"
    template = "there is no token {name!r}; there are: {known}"


# -- audio ----------------------------------------------------------------------------------------------------------


class UnreadableFile(DejavudError):
    """The daemon cannot open the file: it is not there, or not for its user."""

    code = "unreadable_file"
    template = "{source}: {reason}"


class UnsupportedAudio(DejavudError):
    """The bytes hold no audio that can be decoded."""

    code = "unsupported_audio"
    template = "{source}: {reason}"


class UnsupportedUrl(DejavudError):
    """Audio is not fetched from addresses of this kind."""

    code = "unsupported_url"
    template = "{url}: {reason}"


class UnreachableUrl(DejavudError):
    """Nothing that could be heard answers at this address."""

    code = "unreachable_url"
    template = "{url} cannot be heard: {reason}"


class NoFingerprint(DejavudError):
    """The audio is too short or too quiet to be told from other audio."""

    code = "no_fingerprint"
    template = "{source}: {reason}"


class MicrophoneUnavailable(DejavudError):
    """There is no microphone, or what drives it is missing."""

    code = "microphone_unavailable"
    template = "the microphone cannot be used: {reason}"


class DeviceNotFound(MicrophoneUnavailable):
    """No device that records has this name or number."""

    code = "device_not_found"


class WorkerDied(DejavudError):
    """A worker process ended while it worked on this; the daemon and its other work go on."""

    code = "worker_died"
    template = (
        "{source}: the worker process that decoded it died; the file may be damaged in a way that crashes a decoder"
    )


class WorkerNotStarted(WorkerDied):
    """The machine has no room for one more process or its descriptors now."""

    template = "{source}: no worker process can be started for it now: {reason}"


# -- the library ----------------------------------------------------------------------------------------------------


class JobNotFound(DejavudError):
    """No job has this id, or no longer: the last ones that ended are kept."""

    code = "job_not_found"
    template = "there is no job {job!r}; the last ones that have ended are kept, and older ones are not"


class ListenerExists(DejavudError):
    """A listener is called that already."""

    code = "listener_exists"
    template = "there is a listener {name!r} already, on {source}"


class TooManyListeners(DejavudError):
    """There are as many listeners as there may be."""

    code = "too_many_listeners"
    template = "there are {n} listeners, which is all that there may be; remove one first"


class HookNotFound(DejavudError):
    """No hook has this name, or none is switched on."""

    code = "hook_not_found"
    template = "{reason}; there are: {known}"


class PageNotFound(DejavudError):
    """No page of the same question ended with this cursor."""

    code = "page_not_found"
    template = (
        "'cursor' is not one that a page of the same question, in the same order, ended with: start again without it"
    )


class NothingSelected(DejavudError):
    """Nothing says which of many are to be changed; for all of them, that has to be said."""

    code = "nothing_selected"
    template = "say which {what}: {how}"


class ListenerNotFound(DejavudError):
    """No listener has this name."""

    code = "listener_not_found"
    template = "there is no listener {name!r}; there are: {known}"


class SourceStalled(DejavudError):
    """What is listened to is open and sends nothing."""

    code = "source_stalled"
    template = "{source}: {reason}"


class NotListening(DejavudError):
    """A listener takes no sound that is sent to it: it is paused, was removed, or gave its sender up."""

    code = "not_listening"
    template = "the listener {listener!r} takes no sound: {reason}"


class TrackNotFound(DejavudError):
    """No track has this id."""

    code = "track_not_found"
    template = "there is no track {track!r} in the library"


class TrackIdTaken(DejavudError):
    """A track of a backup has the number of another track."""

    code = "track_id_taken"
    template = "the number {track_id} is another track's"


class IndexUnavailable(DejavudError):
    """The database cannot be used now."""

    code = "index_unavailable"
    template = "the index cannot be used: {reason}"


class IndexAway(IndexUnavailable):
    """The database server does not answer; what is asked again later may succeed."""

    template = "the database at {url} cannot be reached: {reason}; nothing that was stored is lost"


class IndexLocked(IndexUnavailable):
    """Another process holds the database file."""

    code = "index_locked"
    template = "{path} is in use by another process ({reason}); stop it, or give this one its own --data-dir"


class IndexDamaged(IndexUnavailable):
    """The database file is not one, or is damaged."""

    code = "index_damaged"
    template = "{path} cannot be read as an index: {reason}"


class IndexFull(IndexUnavailable):
    """There is no room left on the device."""

    code = "index_full"
    template = "the index cannot grow: {reason}; free some space and try again, nothing that was stored is lost"


class SchemaTooNew(IndexUnavailable):
    """The database was made by a later version."""

    code = "schema_too_new"
    template = "{path} has schema version {found}, this dejavud knows up to {known}: use the version that made it, or a later one"


class ParamsMismatch(IndexUnavailable):
    """The database was made with other fingerprint parameters, whose hashes ours would never meet."""

    code = "params_mismatch"
    template = (
        "{path} was fingerprinted with profile {found_profile} (parameters {found}), this daemon is set to "
        "{profile} (parameters {expected}): put the old values back in conf, or start with another --data-dir and "
        "fingerprint the recordings again"
    )


# -- an old database ------------------------------------------------------------------------------------------------


class SourceUnavailable(DejavudError):
    """The old database cannot be reached or read."""

    code = "source_unavailable"
    template = "{url} cannot be read: {reason}"


class SourceUnknown(DejavudError):
    """The database is there and holds nothing of dejavu's."""

    code = "source_unknown"
    template = "{url} is no database of dejavu: {reason}"


class WrongProfile(DejavudError):
    """The library's profile is not one of those that an old database can be brought over to."""

    code = "wrong_profile"
    template = (
        "hashes of dejavu go into a library of their own profile, and this daemon's is {profile}: stop it (dejavuctl shutdown), start one"
        " with `DEJAVUD_ENGINE_PROFILE={suggested} dejavud --data-dir DIR`, where DIR is a new folder, and run this again. {hint}"
    )


# -- files that the daemon writes and reads for its caller -----------------------------------------------------------


class ArchiveDamaged(DejavudError):
    """An archive is cut short or was changed; nothing of it was taken."""

    code = "archive_damaged"
    template = "{path} is damaged: {reason}; nothing was taken from it"


class ArchiveForeign(DejavudError):
    """A file is no archive of dejavud's."""

    code = "archive_foreign"
    template = "{path} is not an archive that dejavuctl export or backup made"


class ArchiveTooNew(DejavudError):
    """An archive was made by a later version."""

    code = "archive_too_new"
    template = "{path} is of archive format {found}, this dejavud knows up to {known}: use the version that made it, or a later one"


class UnwritableFile(DejavudError):
    """The daemon cannot write the file that it was asked for."""

    code = "unwritable_file"
    template = "{path} cannot be written: {reason}; the daemon runs as {user} and may write in {folder}, for one"


class NotRemembered(UnwritableFile):
    """What was changed holds until the daemon ends, as its file cannot be written."""

    template = "the listeners will not be so after a restart: {path} cannot be written: {reason}"


class DiskFull(DejavudError):
    """There is no room for the file that the daemon was asked to write."""

    code = "disk_full"
    template = "there is no room for {path}; what was written of it is deleted again"


class LibraryNotEmpty(DejavudError):
    """A backup is restored into an empty library, unless it is to replace what is there."""

    code = "library_not_empty"
    template = "the library has {n_tracks} tracks; a backup is restored into an empty one, or replaces it where that is asked for (--replace)"


# -- the daemon itself ----------------------------------------------------------------------------------------------


class InvalidConfig(DejavudError):
    """A wrong key or value in conf, environment or flags."""

    code = "invalid_config"
    template = "{origin}: {reason}"


class AddressInUse(DejavudError):
    """Another program listens there."""

    code = "address_in_use"
    template = "{what} cannot listen on {address}: {reason}"


class UnsupportedDatabase(DejavudError):
    """A database URL that this version cannot open."""

    code = "unsupported_database"
    template = "{url}: {reason}"


class ShuttingDown(DejavudError):
    """The daemon is stopping and takes no new work."""

    code = "shutting_down"
    template = "the daemon is shutting down"
