#!/usr/bin/env python3
"""Writes overview.json and app.json, the two dashboards, from the lists of panels below.

    dashboards/build.py            writes both
    dashboards/build.py --check    says whether they are what this would write; exit 1 if not

A panel is one line of what it shows: its title, its unit, its description, and its expressions with
their legends. Where it lies follows from the order. Python 3.9, nothing else."""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: The objectives: docs/runbook.md, dashboards/rules/ and the tests have the same.
READS_OBJECTIVE = 0.999

#: What is good is green and blue, what costs is yellow and orange, what hurts is red.
COLORS = {
    "memory": "blue", "cdn": "green", "s3": "orange", "gcs": "orange", "azure": "orange",
    "embedded": "orange", "redirect": "purple", "none": "red",
    "served": "yellow", "missing": "blue", "failed": "red", "ok": "green",
}

#: What the values of safelight_cdn_breaker_state are called.
BREAKER_STATES = ("closed", "half-open", "open")

#: Reads that failed: an answer of 5xx, or a body that was broken off visibly.
FAILED_READS = (
    '(sum by ({by}) (rate(safelight_reads_total{{app=~"$app", code=~"5.."}}[{window}]))'
    ' + sum by ({by}) (rate(safelight_streams_aborted_total{{app=~"$app"}}[{window}])))'
)
READS = 'sum by ({by}) (rate(safelight_reads_total{{app=~"$app"}}[{window}]))'


def rate(metric, by, selector='app=~"$app"'):
    """What a counter gains in a second, by labels."""
    braces = f"{{{selector}}}" if selector else ""
    return f"sum by ({by}) (rate({metric}{braces}[$__rate_interval]))"


def total(metric, by, selector='app=~"$app"'):
    """What a gauge is now, by labels; for all of it together without."""
    braces = f"{{{selector}}}" if selector else ""
    return f"sum by ({by}) ({metric}{braces})" if by else f"sum({metric}{braces})"


def quantile(share, metric, by, selector='app=~"$app"'):
    """Under which value a share of what a histogram saw lies."""
    return f"histogram_quantile({share}, {rate(metric + '_bucket', by + ', le', selector)})"


def mean(metric, by, selector=""):
    return f"{rate(metric + '_sum', by, selector)} / {rate(metric + '_count', by, selector)}"


def share(part, whole, on=""):
    """One thing for each of another."""
    return f"{part} / on ({on}) group_left {whole}" if on else f"{part} / {whole}"


class Panel:
    """One panel; `shows` are pairs of an expression and its legend."""

    kind = "timeseries"

    def __init__(self, title, unit, description, *shows, stacked=False, width=8, height=8, top=None):
        self.title, self.unit, self.description, self.shows = title, unit, description, shows
        self.stacked, self.width, self.height, self.top = stacked, width, height, top

    def defaults(self):
        defaults = {"unit": self.unit, "min": 0}
        if self.top is not None:
            defaults["max"] = self.top
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if self.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
        }
        return defaults

    def overrides(self):
        """Labels that mean the same everywhere have one colour everywhere."""
        if not any(legend in ("{{source}}", "{{result}}", "{{outcome}}") for _, legend in self.shows):
            return []
        return [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
            }
            for name, color in COLORS.items()
        ]

    def options(self):
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def target(self, number, expression, legend):
        return {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "range": self.kind == "timeseries",
            "instant": self.kind == "stat",
            "expr": expression,
            "legendFormat": legend,
        }

    def to_json(self, number, x, y):
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "targets": [self.target(at, *show) for at, show in enumerate(self.shows)],
            "options": self.options(),
        }


def names_of(states):
    """Has each state shown by its name."""
    options = {str(value): {"text": text, "index": value} for value, text in enumerate(states)}
    return [{"type": "value", "options": options}]


class States(Panel):
    """A number that stands for a state, drawn as a stair."""

    def __init__(self, *about, states, **how):
        super().__init__(*about, **how)
        self.states = states

    def defaults(self):
        defaults = super().defaults()
        defaults["max"] = len(self.states) - 1
        defaults["custom"].update(lineInterpolation="stepAfter", fillOpacity=20)
        defaults["mappings"] = names_of(self.states)
        return defaults


class Stat(Panel):
    """One number for each series. `steps` are pairs of a value and the colour from there on."""

    kind = "stat"

    def __init__(self, *about, steps=((None, "text"),), text="value_and_name", states=(), **how):
        super().__init__(*about, **{"width": 4, "height": 5, **how})
        self.steps, self.text, self.states = steps, text, states

    def defaults(self):
        steps = [{"value": value, "color": color} for value, color in self.steps]
        return {
            "unit": self.unit,
            "decimals": 2 if self.unit == "percentunit" else 0,
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": names_of(self.states) if self.states else [],
        }

    def overrides(self):
        return []

    def options(self):
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": self.text,
            "colorMode": "value",
            "graphMode": "none",
            "orientation": "auto",
        }


def success(by, window):
    failed, reads = FAILED_READS.format(by=by, window=window), READS.format(by=by, window=window)
    return f"1 - {failed} / {reads}"


def budget(by):
    """Which share of the failures that the objective allows has not happened."""
    failed = FAILED_READS.format(by=by, window="$__range")
    reads = READS.format(by=by, window="$__range")
    return f"1 - {failed} / {reads} / {1 - READS_OBJECTIVE:.3g}"


MEMORY_ANSWERS = 'app=~"$app", outcome=~"hit|stale|refused|joined"'
FAILED_CALLS = 'app=~"$app", outcome!~"ok|not_found|not_modified|precondition_failed|range_not_satisfiable|cancelled"'

GLANCE = [
    Stat("Read success", "percentunit",
         "The share of reads, in the time shown, that were neither answered with a 5xx nor broken off. The objective is 99.9 %.",
         (success("app", "$__range"), "{{app}}"),
         steps=((None, "red"), (0.999, "green"))),
    Stat("Error budget left", "percentunit",
         "Of the failures that the objective of 99.9 % allows for the reads in the time shown, the share that has not happened. Look at 30 days for the budget; below 0 it is overspent.",
         (budget("app"), "{{app}}"),
         steps=((None, "red"), (0, "orange"), (0.25, "green"))),
    Stat("First byte within 1 s", "percentunit",
         "The share of reads, in the time shown, whose first byte was there within a second. The objective is 99 %.",
         ('sum by (app) (rate(safelight_read_first_byte_seconds_bucket{app=~"$app", le=~"1|1.0"}[$__range])) / '
          'sum by (app) (rate(safelight_read_first_byte_seconds_count{app=~"$app"}[$__range]))', "{{app}}"),
         steps=((None, "red"), (0.99, "green"))),
    Stat("Fallbacks", "percentunit",
         "The share of reads, in the time shown, that the CDN should have served and storage did. Readers saw nothing of it but time.",
         (share('sum by (app) (rate(safelight_cdn_fallbacks_total{app=~"$app", result="served"}[$__range]))',
                READS.format(by="app", window="$__range")), "{{app}}"),
         steps=((None, "green"), (0.02, "orange"), (0.1, "red"))),
    Stat("Reads now", "reqps", "Reads in a second, now.",
         (rate("safelight_reads_total", "app"), "{{app}}")),
    Stat("CDNs now", "none",
         "The breaker of each app's CDN: closed is well; half-open probes; open sends every read to storage.",
         ('max by (app) (safelight_cdn_breaker_state{app=~"$app"})', "{{app}}"),
         steps=((None, "green"), (1, "orange"), (2, "red")), states=BREAKER_STATES),
]

READ_PANELS = [
    Panel("Reads by source", "reqps",
          "Reads of public URLs by who answered. none: nobody was asked, or nobody answered.",
          (rate("safelight_reads_total", "source"), "{{source}}"), stacked=True),
    Panel("Fallback ratio by app and reason", "percentunit",
          "The share of reads that the CDN should have served and did not, by the reason. docs/metrics.md says what each one means.",
          (share(rate("safelight_cdn_fallbacks_total", "app, reason"), rate("safelight_reads_total", "app"), "app"),
           "{{app}} {{reason}}")),
    Panel("Read success", "percentunit",
          "The share of reads that were neither answered with a 5xx nor broken off. A 404 is an answer.",
          (success("app", "$__rate_interval"), "{{app}}"), top=1),
] + [
    Panel(f"First byte, {name}, by source", "s",
          f"The time from a read's arrival to the head of its answer that {percent} of the reads stay under. Fallbacks count under storage, with the time that the CDN took.",
          (quantile(number, "safelight_read_first_byte_seconds", "source"), "{{source}}"))
    for name, number, percent in [("p50", 0.5, "50 %"), ("p95", 0.95, "95 %"), ("p99", 0.99, "99 %")]
] + [
    States("CDN breaker", "short",
           "The breaker of each app's CDN: closed, half-open (a request probes), open. While it is not closed, storage serves every read.",
           ('max by (app) (safelight_cdn_breaker_state{app=~"$app"})', "{{app}}"),
           states=BREAKER_STATES),
    Panel("Healed and aborted bodies", "ops",
          "Bodies that broke off: healed, continued from storage, by how they broke; the client noticed nothing. Aborted, broken off visibly because they could not be continued, by cause.",
          (rate("safelight_streams_healed_total", "reason"), "healed: {{reason}}"),
          (rate("safelight_streams_aborted_total", "cause"), "aborted: {{cause}}"), stacked=True),
    Panel("Egress by source", "Bps",
          "Bytes of objects by where they came from: fetched from the CDN, fetched from storage, given by memory. What storage and CDN charge for.",
          (rate("safelight_read_bytes_total", "source"), "{{source}}"), stacked=True),
    Panel("Fallbacks by result", "reqps",
          "What became of the reads that fell back: served by storage, missing there too, or failed there too.",
          (rate("safelight_cdn_fallbacks_total", "result"), "{{result}}"), stacked=True),
    Panel("CDN answers", "percentunit",
          "The share of the CDN's answers that could be used, by app.",
          (share(rate("safelight_cdn_requests_total", "app", 'app=~"$app", outcome="ok"'),
                 rate("safelight_cdn_requests_total", "app")), "{{app}}"), top=1),
    Panel("Reads by status", "reqps",
          "Reads of public URLs by HTTP status. 499: the client left before there was an answer.",
          (rate("safelight_reads_total", "code"), "{{code}}"), stacked=True),
    Panel("Hedged reads", "percentunit",
          "The share of reads for which storage was asked because the CDN kept them waiting, by who answered. A budget keeps it at 5 % at most, but for ten at once.",
          (share(rate("safelight_hedges_total", "app, winner"), rate("safelight_reads_total", "app"), "app"),
           "{{app}}, {{winner}}")),
    Panel("Origin share", "reqps",
          "Reads that went straight to storage on purpose, so that the fallback is always in use, by result. Failed: storage is broken, and the CDN served the read.",
          (rate("safelight_origin_share_total", "result"), "{{result}}"), stacked=True),
    Panel("Cache hit ratio", "percentunit",
          "The share of reads of apps with MemoryCacheMaxObject that asked no source: fresh, stale, refused a moment ago, or waiting for another read's fetch.",
          (share(rate("safelight_memory_lookups_total", "app", MEMORY_ANSWERS),
                 rate("safelight_memory_lookups_total", "app")), "{{app}}"), top=1),
]

UPLOAD_PANELS = [
    Panel("Presigns by outcome", "reqps", "Requests to begin an upload: ok, or the code of the error.",
          (rate("safelight_presigns_total", "outcome") + " > 0", "{{outcome}}"), stacked=True),
    Panel("Uploads by state", "ops",
          "Uploads that entered a state. Fewer ready than pending: clients begin uploads and do not finish them.",
          (rate("safelight_uploads_total", "state"), "{{state}}")),
    Panel("Rate limited", "reqps", "Requests that a rate limit refused, by app and limit.",
          (rate("safelight_rate_limited_total", "app, limit"), "{{app}} {{limit}}"), stacked=True),
    Panel("Uploads in parts, by request and outcome", "reqps",
          "Requests for uploads in parts: begin, part_urls, parts, complete. Many begin and few complete: clients give up. Many parts: connections break, and uploads are resumed.",
          (rate("safelight_multipart_requests_total", "request, outcome") + " > 0", "{{request}} {{outcome}}"),
          stacked=True),
    Panel("Quotas in use", "short",
          "Owners, clients and uploads whose quota is not full, by app and limit. At a million for all apps together, newcomers begin to share quotas.",
          (total("safelight_limiter_keys", "app, limit"), "{{app}} {{limit}}")),
]

IDENTITY_PANELS = [
    Panel("Proofs of who is asking", "reqps",
          "What came of asking who a request is from, by app. The reference says what each outcome means.",
          (rate("safelight_identity_total", "app, outcome") + " > 0", "{{app}} {{outcome}}"), stacked=True, width=12),
    Panel("API keys in use", "reqps", "Requests by API key. A key that stands still can be removed.",
          (rate("safelight_api_key_requests_total", "app, key_id"), "{{app}} {{key_id}}"), stacked=True, width=12),
    Panel("Deletions", "reqps",
          "Requests to delete an image, by outcome. storage_failed and storage_timeout: it is deleted, and the sweeper takes its bytes away.",
          (rate("safelight_deletes_total", "app, outcome") + " > 0", "{{app}} {{outcome}}"), stacked=True, width=12),
    Panel("Signed URLs of private images", "reqps",
          "Requests for a URL with which a private image can be read, by outcome.",
          (rate("safelight_signed_urls_total", "app, outcome") + " > 0", "{{app}} {{outcome}}"), stacked=True, width=12),
]

STORAGE_PANELS = [
    Panel("Calls of storage by outcome", "reqps",
          "What became of calls of storage. cancelled: nobody waited any more, mostly because the CDN was faster.",
          (rate("safelight_storage_calls_total", "outcome") + " > 0", "{{outcome}}"), stacked=True),
    Panel("Failing calls of storage", "reqps",
          "Calls that are no answer to the question, by app, operation and outcome. access_denied may be a missing object where the bucket may not be listed.",
          (rate("safelight_storage_calls_total", "app, operation, outcome", FAILED_CALLS) + " > 0",
           "{{app}} {{operation}} {{outcome}}")),
    Panel("Calls of storage, p95", "s",
          "The time that 95 % of the calls stay under, by operation. Bodies are not in it.",
          (quantile(0.95, "safelight_storage_call_seconds", "operation"), "{{operation}}")),
]

MEMORY_PANELS = [
    Panel("Looks into memory", "reqps", "Reads of apps with MemoryCacheMaxObject, by what memory had for them.",
          (rate("safelight_memory_lookups_total", "outcome"), "{{outcome}}"), stacked=True),
    Panel("Fetches for memory", "ops",
          "Fetches by what became of them: many under no_room say that Cache.Size is too small.",
          (rate("safelight_memory_fills_total", "outcome"), "{{outcome}}"), stacked=True),
    Panel("Revalidations", "ops",
          "What sources said of objects that were stale in memory. Failed: old copies are served.",
          (rate("safelight_memory_revalidations_total", "outcome"), "{{outcome}}"), stacked=True),
]

MEMORY_IN_ALL = [
    Panel("Memory in use", "bytes",
          "Bytes in memory, with what each entry costs; Cache.Size bounds it. For all apps.",
          (total("safelight_memory_bytes", "", ""), "bytes")),
    Panel("Objects in memory", "short", "How many there are, and how many a second had to make room. For all apps.",
          (total("safelight_memory_entries", "", ""), "objects"),
          (total("safelight_memory_files", "", ""), "in files"),
          ("sum(rate(safelight_memory_evictions_total[$__rate_interval]))", "evictions")),
]

SWEEPER_PANELS = [
    Panel("Looks by outcome", "ops",
          "Uploads that the sweeper looked at, by what it came to. Many ready ones: clients do not finalize.",
          (rate("safelight_sweeper_looks_total", "outcome"), "{{outcome}}"), stacked=True),
    Panel("Sweeper behind", "s",
          "How long the oldest upload has been due that the sweeper has not looked at. It grows while an app's storage fails.",
          ('max by (app) (safelight_sweeper_overdue_seconds{app=~"$app"})', "{{app}}")),
    Panel("Buckets against records", "ops",
          "Objects that differ from their records, by what was found or done. Nothing without Sweeper.Reconcile.",
          (rate("safelight_reconcile_objects_total", "finding"), "{{finding}}"), stacked=True),
]

RECORDS_PANELS = [
    Panel("Record commits", "s", "How long one commit of the record store took, by engine. For all apps.",
          (quantile(0.5, "safelight_records_commit_seconds", "engine", ""), "{{engine}} p50"),
          (quantile(0.99, "safelight_records_commit_seconds", "engine", ""), "{{engine}} p99")),
    Panel("Records in one commit", "short",
          "How many records are committed together on average, and how many changes wait: more under load. For all apps.",
          (mean("safelight_records_group_size", "engine"), "{{engine}} in one commit"),
          (total("safelight_records_queue_length", "engine", ""), "{{engine}} waiting")),
    Panel("Record lookups", "ops",
          "Records that reads wanted: remembered, asked for, or not to be had. Only of apps with ServeOnlyReady, and of deleted keys.",
          (rate("safelight_record_lookups_total", "outcome"), "{{outcome}}"), stacked=True),
    Panel("What is remembered", "short", "Verdicts of ready, and deleted keys, in the memory of all gateways together.",
          (total("safelight_ready_verdicts", "", ""), "ready"), (total("safelight_deleted_keys", "", ""), "deleted")),
    Panel("Deletions followed", "ops",
          "Looks for the deletions of other nodes, by outcome. While they fail, images that others delete are still served.",
          (rate("safelight_deletions_followed_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("Runs of the sweeper", "s",
          "Seconds that the sweeper spends in runs, for each second, by outcome. At 1 it never rests.",
          (rate("safelight_sweeper_run_seconds_sum", "outcome", ""), "{{outcome}}"), stacked=True),
]

EVENT_PANELS = [
    Panel("Storage events by outcome", "ops",
          "What became of the events that storage sent. The reference says what to do about each outcome.",
          (rate("safelight_events_total", "source, outcome", "") + " > 0", "{{source}} {{outcome}}"), stacked=True),
    Panel("Lag of storage events", "s",
          "From what happened in the bucket to its event having been handled, half and 95 % of them.",
          (quantile(0.5, "safelight_event_lag_seconds", "source", ""), "p50 {{source}}"),
          (quantile(0.95, "safelight_event_lag_seconds", "source", ""), "p95 {{source}}")),
    Panel("Questions to the queue", "ops",
          "Long polls of the queue of events, by outcome. Where there is no queue, there are none.",
          (rate("safelight_event_polls_total", "outcome", ""), "{{outcome}}"), stacked=True),
]

GATEWAY_PANELS = [
    Panel("Connections and requests", "short",
          "Open connections, and requests that are being answered, bodies included. For all apps.",
          (total("safelight_connections", "listener", ""), "connections, {{listener}}"),
          (total("safelight_requests_in_flight", "", ""), "requests in flight")),
    Panel("Refused for capacity", "ops",
          "Requests and connections refused because the gateway was at its capacity, by which cap. For all apps.",
          (rate("safelight_overloaded_total", "cap", ""), "{{cap}}"), stacked=True),
    Panel("Busy", "percentunit",
          "How busy the threads are that answer requests, and the processor time of the process for each of them. Near 1, requests wait.",
          (share(rate("safelight_runtime_busy_seconds_total", "instance", ""),
                 total("safelight_runtime_workers", "instance", "")), "{{instance}} busy"),
          (share('sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) safelight_build_info)',
                 total("safelight_runtime_workers", "instance", "")), "{{instance}} processor")),
    Panel("Tasks", "short",
          "Tasks that have not ended, and those that could run and that no thread has taken yet. A queue that stays is a gateway that is too slow.",
          (total("safelight_runtime_alive_tasks", "instance", ""), "{{instance}} tasks"),
          (total("safelight_runtime_queue_length", "instance", ""), "{{instance}} waiting")),
    Panel("Memory of the process", "bytes", "What is in use of the machine's memory, and the address space.",
          ("sum by (instance) (process_resident_memory_bytes and on (job, instance) safelight_build_info)", "{{instance}} resident"),
          ("sum by (instance) (process_virtual_memory_bytes and on (job, instance) safelight_build_info)", "{{instance}} virtual")),
    Panel("File descriptors and threads", "short",
          "A connection is one file descriptor. At the limit, no more connections are taken.",
          ("sum by (instance) (process_open_fds and on (job, instance) safelight_build_info)", "{{instance}} open"),
          ("sum by (instance) (process_max_fds and on (job, instance) safelight_build_info)", "{{instance}} limit"),
          ("sum by (instance) (process_threads and on (job, instance) safelight_build_info)", "{{instance}} threads")),
    Panel("Reloads", "ops",
          "Reloads of the apps' files, by outcome. Refused: at least one file is not in force; the log and /apps on the admin listener say why.",
          (rate("safelight_config_reloads_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("Handshakes", "cps", "TLS handshakes with clients, by outcome. There only with [TLS].",
          (rate("safelight_tls_handshakes_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("End of the certificate", "dateTimeFromNow",
          "When the certificate that is served ends; the earliest of all gateways. There only with [TLS].",
          ("min by (listener) (safelight_certificate_expiry_seconds) * 1000", "{{listener}}")),
    Panel("Certificates replaced", "ops",
          "New certificates found in their files, by outcome: failed ones are not served. There only with [TLS].",
          (rate("safelight_certificate_reloads_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("Spans", "cps",
          "Spans of traces, by what became of them. No_room: more come than the collector takes. There only with [Tracing].",
          (rate("safelight_spans_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("Requests to the collector of spans", "reqps",
          "By outcome; the log says why some fail. There only with [Tracing].",
          (rate("safelight_span_exports_total", "outcome", ""), "{{outcome}}"), stacked=True),
    Panel("Forwarded addresses that were not believed", "reqps",
          "Requests to begin an upload that name another client than their connection, and are not believed. From untrusted_peer, a proxy is missing in Server.TrustedProxies, or clients make it up.",
          (rate("safelight_untrusted_forwarded_total", "reason", ""), "{{reason}}"), stacked=True),
    Panel("Apps by state", "short",
          "Apps by how they stand to their files. Refused: the app, if there was one, goes on with its last good file. Missing: it is removed when Server.RemovalGrace is over.",
          (total("safelight_config_apps", "state", ""), "{{state}}"), stacked=True),
    Stat("Running for", "s", "How long each gateway has been running.",
         ("time() - max by (instance) (process_start_time_seconds and on (job, instance) safelight_build_info)", "{{instance}}"),
         width=4, height=8),
    Stat("Version", "none", "Which builds run now.",
         (total("safelight_build_info", "version, commit", ""), "{{version}} {{commit}}"),
         width=4, height=8, text="name"),
]


def lay_out(rows):
    """Panels from left to right, and down where they do not fit any more."""
    panels, y = [], 0
    for title, row in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False,
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}, "panels": []})
        x, y, tallest = 0, y + 1, 0
        for panel in row:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.to_json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return panels


def variables(of_one_app):
    query = 'label_values(safelight_uploads_total, app)'
    app = {
        "name": "app", "label": "App", "type": "query", "datasource": DATASOURCE,
        "definition": query, "query": {"qryType": 1, "query": query, "refId": "app"},
        "refresh": 2, "sort": 1, "hide": 0, "multi": not of_one_app, "includeAll": not of_one_app,
        "current": {}, "options": [],
    }
    if not of_one_app:
        app.update(allValue=".*", current={"text": ["All"], "value": ["$__all"]})
    datasource = {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "refresh": 1, "hide": 0, "multi": False, "includeAll": False, "current": {}, "options": [],
    }
    return {"list": [datasource, app]}


def dashboard(uid, title, description, rows, of_one_app, link):
    link_uid, link_title = link
    return {
        "uid": uid, "title": title, "description": description, "tags": ["safelight"],
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "timezone": "", "annotations": {"list": []},
        "links": [{"type": "link", "title": link_title, "url": f"/d/{link_uid}", "icon": "dashboard",
                   "keepTime": True, "includeVars": True, "targetBlank": False, "asDropdown": False,
                   "tags": [], "tooltip": ""}],
        "templating": variables(of_one_app),
        "panels": lay_out(rows),
    }


OVERVIEW = dashboard(
    "safelight-overview", "Safelight", "Reads, fallbacks and uploads of Safelight gateways.",
    [
        ("At a glance", GLANCE),
        ("Reads", READ_PANELS),
        ("Uploads", UPLOAD_PANELS),
        ("Who asked", IDENTITY_PANELS),
        ("Storage", STORAGE_PANELS),
        ("Memory", MEMORY_PANELS + MEMORY_IN_ALL),
        ("Sweeper", SWEEPER_PANELS),
        ("Storage events", EVENT_PANELS),
        ("Records", RECORDS_PANELS),
        ("Gateway", GATEWAY_PANELS),
    ],
    of_one_app=False, link=("safelight-app", "One app"),
)

APP = dashboard(
    "safelight-app", "Safelight: one app", "What one app's owners see of it: its reads, its CDN, its uploads, its bucket.",
    [
        ("At a glance", GLANCE),
        ("Reads", READ_PANELS),
        ("Uploads", UPLOAD_PANELS),
        ("Who asked", IDENTITY_PANELS),
        ("Storage", STORAGE_PANELS),
        ("Memory", MEMORY_PANELS),
        ("Sweeper", SWEEPER_PANELS),
    ],
    of_one_app=True, link=("safelight-overview", "All apps"),
)


def main():
    stale = []
    for name, board in [("overview.json", OVERVIEW), ("app.json", APP)]:
        path, text = FOLDER / name, json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"{' and '.join(stale)}: not what dashboards/build.py writes; run it")


if __name__ == "__main__":
    main()
