"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from dejavud import __version__
from dejavud.evaluation.conditions import condition_of
from dejavud.evaluation.measures import (
    Share,
    cells,
    false_answers,
    offset_accuracy,
    share_of,
    song_accuracy,
    storage,
    times_ms,
)
from dejavud.evaluation.queries import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dejavud.evaluation.examples import Example
    from dejavud.evaluation.queries import Query
    from dejavud.evaluation.run import Results

MAX_LISTED = 12
"""Wrong and false answers that are told one by one."""

_CERTAIN = 0.9999

_STYLE = """\
:root { color-scheme: light; --ink: #1d2433; --faint: #68728a; --line: #e3e6ec; --blue: #2f6fdb; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f9; color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 0 0 .3rem; }
p { margin: .4rem 0 1rem; max-width: 46rem; }
.lead, .note, figcaption { color: var(--faint); }
.note { font-size: .9rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem; margin-top: 1.4rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin-top: 1.4rem; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.2rem; }
.card b { display: block; font-size: 1.8rem; line-height: 1.25; color: var(--blue); }
.card span { color: var(--faint); font-size: .88rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--faint); }
th, td { padding: .42rem .6rem; border-bottom: 1px solid var(--line); }
th, .grid td { white-space: nowrap; }
.grid td { text-align: center; border: 2px solid #fff; border-radius: 6px; }
.grid thead th { text-align: center; }
.grid tbody th { color: var(--ink); white-space: nowrap; }
.grid td.why { white-space: normal; text-align: left; color: var(--faint); font-size: .84rem; min-width: 15rem; }
img { max-width: 100%; height: auto; display: block; }
figure { margin: 1rem 0 0; }
figcaption { font-size: .92rem; margin-bottom: .3rem; }
.good { color: #2a7d57; font-weight: 600; } .bad { color: #c0394b; font-weight: 600; }
footer { color: var(--faint); font-size: .85rem; margin-top: 1.5rem; }
"""

_SAID = {
    Outcome.RIGHT: ("good", "found"),
    Outcome.REPEAT: ("good", "found, where the track plays it once more"),
    Outcome.MISPLACED: ("bad", "right track, wrong place"),
    Outcome.WRONG: ("bad", "taken for another track"),
    Outcome.SILENT: ("bad", "not found"),
    Outcome.FALSE: ("bad", "unknown, and answered"),
}


def page(results: Results, charts: Mapping[str, bytes], shown: Sequence[Example]) -> str:
    """Return the report: charts as PNG by the names of `dejavud.evaluation.charts.CHARTS`."""
    pictures = {name: _image(png, name) for name, png in charts.items()}
    body = "\n".join(
        (
            _head(results),
            _cards(results),
            _accuracy(results, pictures["accuracy"]),
            _by_length(results),
            _trust(results, pictures),
            _mistakes(results),
            _examples(shown),
            _cost(results, pictures),
            _method(results),
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>How well your music is recognized</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(results: Results) -> str:
    library = results.library
    music = storage(library).audio_s / 3600
    cut_short = (
        '<p class="bad">It was interrupted: what follows is of the clips until then.</p>' if results.interrupted else ""
    )
    return (
        "<h1>How well your music is recognized</h1>\n"
        f'<p class="lead">{_count(len(library.kept), "recording")} ({music:.1f} h) in the index,'
        f" {len(library.held_out)} left out as unknown music, {_count(len(results.queries), 'question')} asked,"
        f" drawn from {_text(results.settings.folder)} with seed {results.settings.seed}.</p>{cut_short}"
    )


def _cards(results: Results) -> str:
    queries = results.queries
    usual = 5.0 if 5.0 in results.settings.lengths_s else results.settings.lengths_s[-1]  # noqa: PLR2004 - what people record
    of_length = [query for query in queries if query.length_s == usual]
    unknown = false_answers(queries)
    taken = times_ms(queries, usual)
    cards = [
        (_percent(song_accuracy(of_length)), f"of {usual:g} s clips named rightly, all conditions together"),
        (_percent(offset_accuracy(queries)), "of right answers at the right place, within half a second"),
        (f"{unknown.part} of {unknown.whole}", "unknown clips answered: fewer is better"),
        (f"{taken[len(taken) // 2]:.0f} ms" if len(taken) else "-", f"to match {usual:g} s, in the median"),
    ]
    return (
        '<div class="cards">'
        + "".join(f'<div class="card"><b>{value}</b><span>{what}</span></div>' for value, what in cards)
        + "</div>"
    )


def _accuracy(results: Results, chart: str) -> str:
    by_cell = cells(results.queries)
    lengths = results.settings.lengths_s
    heads = "".join(f'<th scope="col">{length_s:g} s</th>' for length_s in lengths)
    rows = []
    for name in results.settings.conditions:
        filled = "".join(_heat(song_accuracy(by_cell.get((name, length_s), []))) for length_s in lengths)
        why = f'<td class="why">{escape(condition_of(name).reason)}</td>'
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{filled}{why}</tr>')
    return (
        "<section><h2>Which track is it?</h2>\n"
        "<p>The share of clips whose track was named rightly, by what was done to them and how long they are. No answer"
        " counts as not right, so this is what a listener gets.</p>\n"
        f'<div class="scroll"><table class="grid"><thead><tr><th></th>{heads}<th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
        f'<figure>{chart}<figcaption class="note">The bars are how far chance may have moved each point (95 %):'
        " more --clips make them shorter.</figcaption></figure></section>"
    )


def _by_length(results: Results) -> str:
    """Return the measures of dejavu's own test, a column a length."""
    lengths = results.settings.lengths_s
    rows: dict[str, list[str]] = {
        "right track": [],
        "right place, of those": [],
        "mean confidence, of those": [],
        "taken for another track": [],
        "unknown music answered": [],
        "time to match, median": [],
    }
    for length_s in lengths:
        asked = [query for query in results.queries if query.length_s == length_s]
        sure = [query.confidence for query in asked if query.names_right_track]
        taken = times_ms(asked, length_s)
        wrong = share_of((query for query in asked if query.known), lambda query: query.outcome is Outcome.WRONG)
        figures = (
            _percent(song_accuracy(asked)),
            _percent(offset_accuracy(asked)),
            _surely(fmean(sure)) if sure else "-",
            _percent(wrong),
            _percent(false_answers(asked)),
            f"{taken[len(taken) // 2]:.0f} ms" if len(taken) else "-",
        )
        for row, figure in zip(rows.values(), figures, strict=True):
            row.append(figure)
    heads = "".join(f'<th scope="col">{length_s:g} s</th>' for length_s in lengths)
    body = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{figure}</td>" for figure in row)}</tr>'
        for name, row in rows.items()
    )
    return (
        "<section><h2>By length</h2><p>All conditions together.</p>"
        f'<div class="scroll"><table><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def _trust(results: Results, pictures: Mapping[str, str]) -> str:
    return (
        "<section><h2>How far can it be trusted?</h2>\n"
        "<p>Each answer comes with the probability that it is right, and below"
        f" {results.config.recognize.min_confidence:g} nothing is answered. The first chart says whether that probability is true. On"
        " the dotted line it is; above, it is too modest; below, it promises too much. The second: what other"
        " thresholds would give, and the dots where it is set.</p>\n"
        f'<div class="pair"><figure><figcaption>Confidence, predicted and observed</figcaption>{pictures["calibration"]}'
        "</figure><figure><figcaption>Right answers against false ones</figcaption>"
        f"{pictures['roc']}</figure></div>"
        '<p class="note">Numbers beside the dots count queries; lines through them are 95 % intervals, wide where there are'
        " few. Every query is in the first chart by its best guess, named or not.</p></section>"
    )


def _mistakes(results: Results) -> str:
    bad = [query for query in results.queries if query.outcome in {Outcome.WRONG, Outcome.FALSE}]
    if not bad:
        return (
            "<section><h2>Mistakes</h2><p>None: no clip was taken for another track, and no unknown one was"
            " answered.</p></section>"
        )
    pairs: dict[tuple[str, str], list[Query]] = {}
    for query in bad:
        pairs.setdefault((query.path, query.answer or ""), []).append(query)
    ordered = sorted(pairs.items(), key=lambda pair: -len(pair[1]))
    rows = "".join(
        f"<tr><td>{_name(path)}</td><td>{_name(answer)}</td><td>{len(of)}</td>"
        f"<td>{escape(', '.join(dict.fromkeys(query.condition for query in of)))}</td></tr>"
        for (path, answer), of in ordered[:MAX_LISTED]
    )
    more = f"<p>And {len(ordered) - MAX_LISTED} more; queries.csv has all.</p>" if len(ordered) > MAX_LISTED else ""
    return (
        "<section><h2>Mistakes</h2><p>Where the same two stand in many rows, listen to them: they may be two releases, or a"
        " remix, of one recording, and then it is no mistake.</p>"
        '<div class="scroll"><table><thead><tr><th>the clip is from</th><th>it was taken for</th><th>clips</th>'
        f"<th>conditions</th></tr></thead><tbody>{rows}</tbody></table></div>{more}</section>"
    )


def _examples(shown: Sequence[Example]) -> str:
    figures = []
    for example in shown:
        query = example.query
        kind, said = _SAID[query.outcome]
        laid_over = query.answer if query.answered and query.answer else query.path
        sure = f", confidence {_surely(query.confidence)}" if query.answered else ""
        over = "" if laid_over == query.path else f", laid over {_name(laid_over)}"
        figures.append(
            f'<figure><figcaption><span class="{kind}">{said}</span>: {query.length_s:g} s of {_name(query.path)} from'
            f" {query.start_s:.1f} s on, {escape(query.condition)}{sure}{over}</figcaption>"
            f"{_image(example.picture, f'constellations of a clip under {query.condition} and of the track')}</figure>"
        )
    return (
        "<section><h2>What it sees</h2><p>Music is recognized by its constellation: the peaks of its spectrogram. Here those"
        " of a clip (orange) are laid over those of the track (blue circles); where they meet, the peak is green. First an"
        " easy match and the hardest ones, then failures: what noise has left of them was too little, or lies elsewhere.</p>"
        f"{''.join(figures)}</section>"
    )


def _cost(results: Results, pictures: Mapping[str, str]) -> str:
    kept = storage(results.library)
    speed = kept.audio_s / max(results.library.index_s, 1e-9)
    formats = "".join(
        f"<tr><td>{escape(name)} files, as they are</td><td>{n_bytes / 1e6:.1f} MB</td></tr>"
        for name, n_bytes in kept.by_format.items()
    )
    return (
        "<section><h2>What it costs</h2><p>The time to match is that of this machine, fingerprint, look-up and match"
        f" together, after decoding. Fingerprinting the recordings went at {speed:.0f} times real time.</p>\n"
        f"<figure><figcaption>Time to match</figcaption>{pictures['time']}</figure>\n"
        f"<figure><figcaption>Bytes on the disk</figcaption>{pictures['storage']}</figure>\n"
        f"<table><tbody>{formats}<tr><td>the same music as wav</td><td>{kept.wav_bytes / 1e6:.1f} MB</td></tr>"
        f"<tr><td>index</td><td>{kept.index_bytes / 1e6:.1f} MB, {kept.bytes_a_song / 1e3:.0f} kB for four minutes</td></tr>"
        "</tbody></table>"
        '<p class="note">An empty index takes about a megabyte, which weighs on small libraries.</p></section>'
    )


def _method(results: Results) -> str:
    settings, library = results.settings, results.library
    notes = [f"{path.name}: {reason}" for path, reason in (library.failed | results.skipped).items()]
    listed = "".join(f"<li>{escape(note)}</li>" for note in map(_plain, notes[:MAX_LISTED]))
    more = f"<li>and {len(notes) - MAX_LISTED} more; see summary.json</li>" if len(notes) > MAX_LISTED else ""
    left_out = f"<p>Left out:</p><ul>{listed}{more}</ul>" if notes else ""
    return (
        "<section><h2>How it was measured</h2>"
        f"<p>Of {_count(library.n_found, 'file')} ({library.n_same} with the content of another),"
        f" {len(library.kept)} were fingerprinted into an index of their own and {len(library.held_out)} held out. From them"
        f" {settings.n_clips} clips of known music and half as many of unknown music were cut at random, at"
        f" least {settings.padding_s:g} s from either end, every recording in its turn. Every clip was asked about in"
        " every condition and length; the shorter clips are the beginnings of the longest, so the columns compare clip by clip. Right is"
        " the right track; at the right place is within half a second. Noise levels are in dB over the whole clip.</p>"
        f"{left_out}</section>"
        f"<footer>dejavud {__version__}, profile {escape(results.config.engine.profile)}, parameters"
        f" {escape(results.config.engine.digest)}</footer>"
    )


def _heat(share: Share) -> str:
    """Return a table cell, from red over yellow to green."""
    if not share.whole:
        return "<td>-</td>"
    low, high = share.interval
    hue = 4 + 146 * share.value**2
    title = f"{share.part} of {share.whole}; {100 * low:.0f} to {100 * high:.0f} % (95 %)"
    return f'<td style="background:hsl({hue:.0f} 62% 84%)" title="{title}">{_percent(share)}</td>'


def _percent(share: Share) -> str:
    """Return a share in per cent, rounded so that only all is 100 and only none is 0."""
    if not share.whole:
        return "-"
    rounded = round(100 * share.value)
    if share.part < share.whole:
        rounded = min(rounded, 99)
    return f"{max(rounded, 1) if share.part else 0} %"


def _surely(confidence: float) -> str:
    """Return a confidence in per cent, rounded down, as HTML."""
    return f"{int(10_000 * confidence) / 100:.2f} %" if confidence < _CERTAIN else "&gt; 99.99 %"


def _image(png: bytes, alternative: str) -> str:
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _name(path: str) -> str:
    return _text(Path(path).name)


def _text(text: str) -> str:
    return escape(_plain(text))


def _plain(text: str) -> str:
    """Return `text` as it can be encoded: file names may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
