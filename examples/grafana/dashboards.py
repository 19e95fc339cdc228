"""The dashboards, as code: python examples/grafana/dashboards.py

Writes llmfs.json and llmfs-details.json beside itself, for Grafana 11 and newer. A panel is a line or a few of what it
asks Prometheus; how it looks is said once, below. The types are Grafana's own (grafana-foundation-sdk), which makes the
schema a matter of the type checker. Tests have a real Prometheus evaluate every expression over a live mount, and hold
the files against what this writes.

The series with colons are recorded by examples/prometheus/rules.yml.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from llmfs.metrics_table import RULES

HERE = Path(__file__).parent
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
MOUNT = 'instance=~"$instance"'

WIDTH = 24
"""Grafana's grid. A screen of 1080 lines shows 24 rows of it, which is what the overview takes."""

GOOD, SO_SO, BAD, NEUTRAL = "green", "yellow", "red", "blue"
HIGH_IS_GOOD = ((None, BAD), (0.3, SO_SO), (0.7, GOOD))
ANY_IS_BAD = ((None, GOOD), (1.0, BAD))
NO_JUDGEMENT = ((None, NEUTRAL),)

Thresholds: TypeAlias = Sequence[tuple[float | None, str]]
Builder: TypeAlias = stat.Panel | timeseries.Panel | statetimeline.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """What Prometheus is asked, and what its answers are called."""

    expression: str
    legend: str = "{{instance}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `about` stands behind its (i); `unit` is Grafana's name of it; a stack is of parts of a whole."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    is_stack: bool = False

    def builder(self) -> Builder:
        legend = common.VizLegendOptions().show_legend(True).display_mode(common_models.LegendDisplayMode.LIST)
        panel = (
            timeseries.Panel()
            .legend(legend.placement(common_models.LegendPlacement.BOTTOM).calcs([]))
            .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
            .fill_opacity(25 if self.is_stack else 8)
            .show_points(common_models.VisibilityMode.NEVER)
            .min(0)
        )
        if self.is_stack:
            panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
        return panel


@dataclass(frozen=True, slots=True)
class Band(Panel):
    """An estimate between its bounds: `queries` are the lower one, the estimate and the upper one."""

    def builder(self) -> Builder:
        low, _, high = (query.legend for query in self.queries)
        line = models.DynamicConfigValue("custom.lineWidth", 0)
        fill = models.DynamicConfigValue("custom.fillBelowTo", low)
        panel = Panel.builder(self)
        assert isinstance(panel, timeseries.Panel)
        return panel.fill_opacity(0).override_by_name(low, [line]).override_by_name(high, [line, fill])


@dataclass(frozen=True, slots=True)
class Figure(Panel):
    """A number, coloured by thresholds; `words`: what values are called, and their colours."""

    thresholds: Thresholds = NO_JUDGEMENT
    words: dict[str, tuple[str, str]] = field(default_factory=dict)

    def builder(self) -> Builder:
        steps = [models.Threshold(value, color) for value, color in self.thresholds]
        panel = (
            stat.Panel()
            .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
            .color_mode(common_models.BigValueColorMode.VALUE)
            .graph_mode(common_models.BigValueGraphMode.NONE if self.words else common_models.BigValueGraphMode.AREA)
            .no_value("idle")
        )
        if self.words:
            panel.mappings([_words(self.words)])
        return panel


@dataclass(frozen=True, slots=True)
class States(Panel):
    """Which state it was in, over time: a query's legend names the state."""

    def builder(self) -> Builder:
        return (
            statetimeline.Panel()
            .merge_values(True)
            .show_value(common_models.VisibilityMode.NEVER)
            .mappings([_words({"1": ("yes", NEUTRAL), "0": ("no", "transparent")})])
        )


@dataclass(frozen=True, slots=True)
class Table(Panel):
    """The labels of the newest samples."""

    def builder(self) -> Builder:
        return table.Panel()


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, equally wide, under a question."""

    question: str
    height: int
    panels: Sequence[Panel]


def rate(selector: str, by: str = "") -> str:
    """The sum of a counter's rates over the chosen mounts. `selector`: its name, and matchers where there are any."""
    name, _, matchers = selector.partition("{")
    inside = ", ".join(filter(None, (MOUNT, matchers.rstrip("}"))))
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{inside}}}[$__rate_interval]))"


def total(metric: str, by: str = "") -> str:
    """The sum of a gauge over the chosen mounts."""
    return f"sum{f' by ({by})' if by else ''} ({metric}{{{MOUNT}}})"


def most(metric: str, by: str) -> str:
    """The highest of a gauge over the chosen mounts."""
    return f"max by ({by}) ({metric}{{{MOUNT}}})"


def increase(metric: str, by: str) -> str:
    """How much a counter grew over the time shown."""
    return f"sum by ({by}) (increase({metric}{{{MOUNT}}}[$__range]))"


def quantile(q: float, histogram: str, matchers: str, by: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket{{{matchers}}}', labels)})"


def mean(histogram: str, by: str) -> str:
    """Of those that there were any of."""
    return f"{rate(f'{histogram}_sum', by)} / ({rate(f'{histogram}_count', by)} > 0)"


def recorded(name: str) -> Query:
    return Query(f"{name}{{{MOUNT}}}")


READ_IN_KERNEL = f"sum (instance:llmfs_kernel_hit_bytes:estimate{{{MOUNT}}})"
READ_IN_KERNEL_ERROR = f"sqrt(sum (instance:llmfs_kernel_hit_bytes:stderr{{{MOUNT}}} ^ 2))"
"""Over the chosen mounts, whose samples are independent."""

OVERVIEW = (
    Row(
        "Is it helping?",
        4,
        (
            Figure(
                "Waiting removed",
                "Of the time that programs would wait for the source without llmfs, the part that they do not: an"
                " estimate that counts each hit as one call on the source at the mean that such calls take.",
                "percentunit",
                (
                    Query(
                        f"instance:llmfs_hits_saved_seconds:rate5m{{{MOUNT}}}"
                        " / (instance:llmfs_hits_saved_seconds:rate5m + instance:llmfs_stall_seconds:rate5m > 0)"
                    ),
                ),
                thresholds=HIGH_IS_GOOD,
            ),
            Figure(
                "Reads from the cache",
                "The share of read requests that the cache had, over five minutes. What the kernel's page cache answers"
                " never reaches llmfs and is not in here.",
                "percentunit",
                (recorded("instance:llmfs_read_hits:ratio_rate5m"),),
                thresholds=HIGH_IS_GOOD,
            ),
            Figure(
                "Names from the cache",
                "The share of names, attributes and listings that needed no call on the source.",
                "percentunit",
                (recorded("instance:llmfs_metadata_hits:ratio_rate5m"),),
                thresholds=HIGH_IS_GOOD,
            ),
            Figure(
                "Waiting saved by prefetching",
                "An estimate, in seconds a second over all programs: what was fetched ahead and ready when it was first"
                " asked for counts for one call on the source at the mean that such calls take at that time.",
                "s",
                (recorded("instance:llmfs_stall_saved_seconds:rate5m"),),
            ),
            Figure(
                "Prefetched and used",
                "Accuracy: of the prefetched bytes whose fate was known within the hour, those that a program used.",
                "percentunit",
                (recorded("instance:llmfs_prefetch_accuracy:ratio_rate1h"),),
                thresholds=HIGH_IS_GOOD,
            ),
            Figure(
                "Needed and prefetched",
                "Coverage: of the bytes that programs needed for the first time within the hour, those that were there"
                " ahead of them.",
                "percentunit",
                (recorded("instance:llmfs_prefetch_coverage:ratio_rate1h"),),
                thresholds=HIGH_IS_GOOD,
            ),
        ),
    ),
    Row(
        "How much?",
        6,
        (
            Panel(
                "Waiting for the source",
                "Seconds a second over all programs: what was suffered, by what was asked for, and estimates of what"
                " the cache as a whole and prefetching saved. Waits that would have overlapped count each.",
                "s",
                (
                    Query(rate("llmfs_stall_seconds_total", "kind"), "suffered: {{kind}}"),
                    Query(f"sum (instance:llmfs_hits_saved_seconds:rate5m{{{MOUNT}}})", "saved by the cache"),
                    Query(rate("llmfs_stall_saved_seconds_total"), "saved by prefetching"),
                ),
            ),
            Panel(
                "Bytes read, by who had them",
                "Joined: they were on their way already.",
                "Bps",
                (Query(rate("llmfs_read_bytes_total", "tier"), "{{tier}}"),),
                is_stack=True,
            ),
            Panel(
                "How long reads take",
                "Half of the reads, and all but one in a hundred, take no longer: those that the cache had, those that"
                " waited, and the calls on the source themselves.",
                "s",
                tuple(
                    Query(quantile(q, *what), f"{who} {name}")
                    for who, what in (
                        ("hit", ("llmfs_request_duration_seconds", 'operation="read", tier="cache"')),
                        ("miss", ("llmfs_request_duration_seconds", 'operation="read", tier=~"source|joined"')),
                        ("source", ("llmfs_source_duration_seconds", 'operation="read"')),
                    )
                    for q, name in ((0.5, "half"), (0.99, "99%"))
                ),
            ),
        ),
    ),
    Row(
        "What is it doing now?",
        6,
        (
            Panel(
                "Prefetched bytes and what became of them",
                "Unused: they left the cache before anybody asked. What still waits there is in none but the first.",
                "Bps",
                (
                    Query(rate("llmfs_prefetch_issued_bytes_total"), "fetched ahead"),
                    Query(rate('llmfs_prefetch_used_bytes_total{timeliness="in_time"}'), "used in time"),
                    Query(rate('llmfs_prefetch_used_bytes_total{timeliness="late"}'), "used late"),
                    Query(rate("llmfs_prefetch_unused_bytes_total"), "unused"),
                    Query(rate("llmfs_demand_fetched_bytes_total"), "fetched when asked for"),
                ),
            ),
            Panel(
                "Requests and calls on the source",
                "What programs ask for, and what of it and of prefetching reaches the source.",
                "ops",
                (
                    Query(rate("llmfs_request_duration_seconds_count"), "requests"),
                    Query(rate("llmfs_source_duration_seconds_count"), "calls on the source"),
                    Query(rate('llmfs_request_duration_seconds_count{tier=~"source|joined"}'), "requests that waited"),
                ),
            ),
            Panel(
                "Cache",
                "Bytes of blocks; beyond the capacity some are evicted. The limit is for all of the directory.",
                "bytes",
                (
                    Query(total("llmfs_cache_bytes"), "blocks"),
                    Query(total("llmfs_cache_capacity_bytes"), "capacity"),
                    Query(total("llmfs_cache_limit_bytes"), "limit"),
                ),
            ),
        ),
    ),
    Row(
        "Is anything wrong?",
        4,
        (
            Figure(
                "Alerts",
                "Those of examples/prometheus/alerts.yml that fire.",
                "none",
                (Query(f'count(ALERTS{{alertstate="firing", {MOUNT}}}) or vector(0)', "firing"),),
                thresholds=ANY_IS_BAD,
            ),
            Figure(
                "Source",
                "Gone: its last answer was that it cannot be reached.",
                "none",
                (Query(f"min by (instance) (llmfs_source_up{{{MOUNT}}})"),),
                words={"1": ("there", GOOD), "0": ("gone", BAD)},
            ),
            Figure(
                "Cache",
                "Out of use: its disk failed too often. Bypassed, which is no fault, is when the source is as fast.",
                "none",
                (
                    Query(
                        f"min by (instance) (llmfs_cache_up{{{MOUNT}}})"
                        f" * on (instance) (1 + max by (instance) (llmfs_cache_bypassed{{{MOUNT}}}))"
                    ),
                ),
                words={"0": ("out of use", BAD), "1": ("in use", GOOD), "2": ("bypassed", NEUTRAL)},
            ),
            States(
                "Predictor",
                "Rules: without a network. Pretrained: with the one that is shipped. Learned: with one of its own.",
                "none",
                (Query(f"max by (state) (llmfs_predictor_state{{{MOUNT}}})", "{{state}}"),),
            ),
            Panel(
                "Errors of the source",
                "By what the errno says. Refused and invalid are answers to what a program asked for.",
                "ops",
                (Query(rate("llmfs_source_errors_total", "class"), "{{class}}"),),
            ),
            Panel(
                "Faults passed over",
                "Faults of llmfs's own parts that no program noticed.",
                "ops",
                (
                    Query(rate("llmfs_faults_total", "part"), "{{part}}"),
                    Query(rate("llmfs_cache_corrupt_blocks_total"), "damaged blocks"),
                ),
            ),
        ),
    ),
)

DETAILS = (
    Row(
        "Who prefetches what",
        8,
        (
            Panel(
                "Fetched ahead, by generator",
                f"Who proposed it: a rule of the mount's ({', '.join(RULES)}), or a source of the predictor's.",
                "Bps",
                (Query(f"{rate('llmfs_prefetch_issued_bytes_total', 'generator')} > 0", "{{generator}}"),),
                is_stack=True,
            ),
            Panel(
                "Attributes and listings fetched ahead",
                "Things a second, by generator.",
                "ops",
                (
                    Query(
                        rate('llmfs_prefetch_issued_total{kind!="data"}', "kind, generator") + " > 0",
                        "{{kind}} {{generator}}",
                    ),
                ),
            ),
            Panel(
                "Used in time, by generator",
                "Things: blocks of data, attributes, listings.",
                "ops",
                (
                    Query(
                        rate('llmfs_prefetch_used_total{timeliness="in_time"}', "kind, generator") + " > 0",
                        "{{kind}} {{generator}}",
                    ),
                ),
            ),
            Panel(
                "Late or unused, by generator",
                "Late: a program had to wait for a part of the fetch. Unused: it left the cache, was looked at anew, or"
                " was let go of.",
                "ops",
                (
                    Query(rate('llmfs_prefetch_used_total{timeliness="late"}', "generator"), "late {{generator}}"),
                    Query(rate("llmfs_prefetch_unused_total", "generator"), "unused {{generator}}"),
                ),
            ),
        ),
    ),
    Row(
        "How often it is right, and what decides",
        8,
        (
            Panel(
                "Fetched ahead, by model",
                "What decided: a rule, how often such came true before (counts), the network that is shipped"
                " (pretrained), or the mount's own (learned).",
                "Bps",
                (Query(rate('llmfs_prefetch_model_bytes_total{outcome="issued"}', "model"), "{{model}}"),),
                is_stack=True,
            ),
            Panel(
                "What became of it, by model",
                "Things: blocks of data, attributes, listings.",
                "ops",
                (
                    Query(
                        rate('llmfs_prefetch_model_items_total{outcome!="issued"}', "model, outcome") + " > 0",
                        "{{model}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Accuracy, by generator",
                "Of the prefetched bytes whose fate was known within the hour, those that were used.",
                "percentunit",
                (Query(f"instance_generator:llmfs_prefetch_accuracy:ratio_rate1h{{{MOUNT}}}", "{{generator}}"),),
            ),
            Panel(
                "Accuracy, by model",
                "Of the prefetched bytes whose fate was known within the hour, those that were used.",
                "percentunit",
                (Query(f"instance_model:llmfs_prefetch_accuracy:ratio_rate1h{{{MOUNT}}}", "{{model}}"),),
            ),
        ),
    ),
    Row(
        "What it is worth",
        8,
        (
            Panel(
                "Waiting saved, by generator",
                "Estimate, in seconds a second.",
                "s",
                (Query(f"{rate('llmfs_stall_saved_seconds_total', 'kind, generator')} > 0", "{{kind}} {{generator}}"),),
                is_stack=True,
            ),
            Panel(
                "Reads, by who had the bytes",
                "Requests, whatever their length.",
                "ops",
                (Query(rate("llmfs_reads_total", "tier"), "{{tier}}"),),
                is_stack=True,
            ),
            Panel(
                "Names and attributes, by who knew",
                "Lookups, attributes, listings, links.",
                "ops",
                (Query(rate("llmfs_metadata_requests_total", "tier"), "{{tier}}"),),
                is_stack=True,
            ),
        ),
    ),
    Row(
        "What is wanted, and on its way",
        6,
        (
            Panel(
                "Wanted things that wait",
                "To be fetched ahead.",
                "none",
                (Query(total("llmfs_prefetch_queue_length"), "waiting"),),
            ),
            Panel(
                "Wanted things that were not fetched",
                "They waited too long (late), too many waited (full), most was in vain of late and they were not sure"
                " (doubtful), the source had an error (failed), or a policy says so.",
                "ops",
                (Query(rate("llmfs_prefetch_dropped_total", "reason"), "{{reason}}"),),
            ),
            Panel(
                "Bytes on their way",
                "Being fetched, for programs or ahead of them. What is fetched ahead leaves off at the window: what"
                " keeps the line busy, by the rate it has shown, what a request takes, and what others may wait.",
                "bytes",
                (
                    Query(total("llmfs_fetch_bytes_in_flight"), "in flight"),
                    Query(total("llmfs_fetch_window_bytes"), "window for what is fetched ahead"),
                    Query(total("llmfs_source_line_bytes_per_second"), "the line has shown, a second"),
                ),
            ),
            Panel(
                "Turns on a crowded line",
                "Where programs stand behind each other's bytes (crowded is 1) each has a part of the line: requests of"
                " long readers that waited until others had theirs, and for how long.",
                "short",
                (
                    Query(rate("llmfs_source_line_held_requests_total"), "requests that waited, a second"),
                    Query(rate("llmfs_source_line_held_seconds_total"), "seconds that they waited, a second"),
                    Query(total("llmfs_source_line_crowded"), "crowded"),
                ),
            ),
        ),
    ),
    Row(
        "Requests",
        8,
        (
            Panel(
                "Requests, by operation",
                "From programs, as far as the kernel could not answer them.",
                "ops",
                (Query(f"{rate('llmfs_request_duration_seconds_count', 'operation')} > 0", "{{operation}}"),),
            ),
            Panel(
                "Mean time, by operation and tier",
                "From a request's arrival to its answer.",
                "s",
                (Query(mean("llmfs_request_duration_seconds", "operation, tier"), "{{operation}} {{tier}}"),),
            ),
            Panel(
                "Lookups",
                "All but one in a hundred take no longer than that.",
                "s",
                (
                    Query(quantile(0.99, "llmfs_request_duration_seconds", 'operation="lookup"', "tier"), "{{tier}}"),
                    Query(quantile(0.99, "llmfs_source_duration_seconds", 'operation="lookup"'), "the source itself"),
                ),
            ),
            Panel(
                "Errors told to programs",
                "By operation, errors of the source included.",
                "ops",
                (Query(rate("llmfs_request_errors_total", "operation"), "{{operation}}"),),
            ),
        ),
    ),
    Row(
        "The source",
        8,
        (
            Panel(
                "Calls on the source, by operation",
                "Demand and prefetch alike.",
                "ops",
                (Query(f"{rate('llmfs_source_duration_seconds_count', 'operation')} > 0", "{{operation}}"),),
            ),
            Panel(
                "Mean time of a call",
                "By operation; and over reads, names, attributes and listings.",
                "s",
                (
                    Query(mean("llmfs_source_duration_seconds", "operation"), "{{operation}}"),
                    recorded("instance:llmfs_source_latency_seconds:mean5m"),
                ),
            ),
            Panel(
                "Under way",
                "Calls for programs; calls that run for more than a second.",
                "none",
                (
                    Query(total("llmfs_demand_calls"), "for programs"),
                    Query(total("llmfs_source_stuck_calls"), "for more than a second"),
                ),
            ),
            Panel(
                "Bytes to and from the source",
                "Reads that go past the cache are not in here.",
                "Bps",
                (
                    Query(rate("llmfs_demand_fetched_bytes_total"), "fetched when asked for"),
                    Query(rate("llmfs_prefetch_issued_bytes_total"), "fetched ahead"),
                    Query(rate("llmfs_written_bytes_total"), "written"),
                ),
            ),
        ),
    ),
    Row(
        "The cache",
        8,
        (
            Panel(
                "Fill",
                "Of the capacity, beyond which blocks are evicted.",
                "percentunit",
                (recorded("instance:llmfs_cache_fill:ratio"),),
            ),
            Panel(
                "Evicted bytes, by reason",
                "Unused: fetched ahead, and not used by then. Changed: of a file that is another by now.",
                "Bps",
                (Query(rate("llmfs_cache_evicted_bytes_total", "reason"), "{{reason}}"),),
                is_stack=True,
            ),
            Panel(
                "Blocks, inodes, open files",
                "In memory, the blocks' index among them.",
                "none",
                (
                    Query(total("llmfs_cache_blocks"), "blocks"),
                    Query(total("llmfs_inodes"), "inodes"),
                    Query(total("llmfs_open_handles"), "open"),
                ),
            ),
            Panel(
                "On its disk",
                "What the cache directory takes, within its limit, and what is free beside it.",
                "bytes",
                (
                    Query(total("llmfs_cache_dir_bytes"), "taken"),
                    Query(total("llmfs_cache_limit_bytes"), "limit"),
                    Query(total("llmfs_cache_disk_free_bytes"), "free"),
                ),
            ),
        ),
    ),
    Row(
        "Consistency",
        8,
        (
            Panel(
                "Looks at what was known, by outcome",
                "Names, attributes and listings whose time was up: the source had the same, another state, or nothing.",
                "ops",
                (Query(rate("llmfs_revalidations_total", "outcome"), "{{outcome}}"),),
                is_stack=True,
            ),
            Panel(
                "Looks at what was known, by kind",
                "One look at a directory may answer for many names of it.",
                "ops",
                (Query(rate("llmfs_revalidations_total", "kind"), "{{kind}}"),),
                is_stack=True,
            ),
            Panel(
                "Names that the kernel is asked to forget",
                "Beyond what the profile has room for.",
                "ops",
                (Query(rate("llmfs_names_given_back_total"), "given back"),),
            ),
        ),
    ),
    Row(
        "The kernel's page cache",
        8,
        (
            Panel(
                "Pushed into it",
                "Bytes of files that are being read in small pieces.",
                "Bps",
                (Query(rate("llmfs_pushed_bytes_total"), "pushed"),),
            ),
            Figure(
                "Of what was pushed, read",
                "The share of the pages held back as a sample that programs read, and its standard error.",
                "percentunit",
                (
                    recorded("instance:llmfs_pushed_pages_read:ratio"),
                    Query(f"instance:llmfs_pushed_pages_read:stderr{{{MOUNT}}}", "± {{instance}}"),
                ),
            ),
            Band(
                "Pushed bytes that were read there, estimated",
                "Since the mount: that share of what was pushed. The band is of two standard errors on either side.",
                "bytes",
                tuple(
                    Query(f"clamp_min({READ_IN_KERNEL} {sign} 2 * {READ_IN_KERNEL_ERROR}, 0)", legend)
                    if sign
                    else Query(READ_IN_KERNEL, legend)
                    for sign, legend in (("-", "at least"), ("", "estimate"), ("+", "at most"))
                ),
            ),
            Panel(
                "The sample",
                "Pages, one in 1024, that were held back since the mount, and those of them that were then read.",
                "none",
                (
                    Query(total("llmfs_push_held_back_pages_total"), "held back"),
                    Query(total("llmfs_push_held_back_used_pages_total"), "of these, read"),
                ),
            ),
        ),
    ),
    Row(
        "Policies and pins",
        6,
        (
            Panel(
                "Requests under policies, by what they say",
                "Reads and names. Those that bypass the cache are in no other figure of reads, names and waiting.",
                "ops",
                (Query(rate("llmfs_policy_requests_total", "do"), "{{do}}"),),
            ),
            Panel(
                "Bytes read under policies",
                "From the cache or past it.",
                "Bps",
                (Query(rate("llmfs_policy_read_bytes_total", "do"), "{{do}}"),),
            ),
            Panel(
                "Shares of the cache, and pinned",
                "What each policy with a share holds and may hold, by its number in llmfs status; what is pinned.",
                "bytes",
                (
                    Query(total("llmfs_policy_share_bytes", "rule"), "policy {{rule}}"),
                    Query(total("llmfs_policy_share_limit_bytes", "rule"), "policy {{rule}}, limit"),
                    Query(total("llmfs_pinned_bytes"), "pinned"),
                ),
            ),
            Figure(
                "Pinned files",
                "That a person wants to stay.",
                "none",
                (Query(total("llmfs_pinned_files"), "files"),),
            ),
        ),
    ),
    Row(
        "The predictor",
        8,
        (
            Panel(
                "Lag",
                "Age of the newest access when the predictor took it in.",
                "s",
                (Query(f"llmfs_predictor_lag_seconds{{{MOUNT}}}"),),
            ),
            Panel(
                "Its time",
                "Seconds a second: learning and planning beside the mount, training in a process of its own.",
                "s",
                (
                    Query(rate("llmfs_predictor_inference_seconds_total"), "learning and planning"),
                    Query(rate("llmfs_predictor_training_seconds_total"), "training"),
                ),
            ),
            Panel(
                "Accesses and plans",
                "What it took in and what it planned; accesses that it or the log did not get.",
                "ops",
                (
                    Query(rate("llmfs_accesses_total"), "accesses"),
                    Query(rate("llmfs_predictor_events_total"), "taken in"),
                    Query(rate("llmfs_predictor_planned_items_total"), "planned"),
                    Query(rate("llmfs_accesses_dropped_total"), "not learned"),
                ),
            ),
        ),
    ),
    Row(
        "What the predictor learned",
        8,
        (
            Panel(
                "Shadow against incumbent",
                "Losses on what the last training held out: the network that it made replaces the one in use only where"
                " its loss is clearly lower than both others.",
                "none",
                (Query(f"llmfs_predictor_training_loss{{{MOUNT}}}", "{{model}}"),),
            ),
            Figure(
                "Trainings, promotions, restarts",
                "Within the time shown.",
                "none",
                (
                    Query(increase("llmfs_predictor_training_runs_total", "job"), "trainings"),
                    Query(increase("llmfs_predictor_training_promotions_total", "job"), "promotions"),
                    Query(increase("llmfs_predictor_restarts_total", "job"), "restarts"),
                ),
            ),
            Panel(
                "What was learned",
                "On disk, within the cache's limit.",
                "bytes",
                (Query(total("llmfs_predictor_state_bytes"), "learned"),),
            ),
        ),
    ),
    Row(
        "The controller",
        6,
        (
            Panel(
                "Setting in force",
                "How eager prefetching is: depth, and how sure it must be. deep-any holds nothing back.",
                "none",
                (Query(total("llmfs_control_arm", "arm"), "{{arm}}"),),
            ),
            Panel(
                "Looks, and changes",
                "How often the controller looks, and what it changed to.",
                "ops",
                (
                    Query(rate("llmfs_control_decisions_total"), "looks"),
                    Query(rate("llmfs_control_changes_total", "arm"), "to {{arm}}"),
                    Query(rate("llmfs_control_share_changes_total"), "other shares of the cache"),
                ),
            ),
            Panel(
                "Shares of the cache",
                "For how many programs a share of the cache is kept.",
                "none",
                (Query(total("llmfs_control_sharers"), "programs with a share"),),
            ),
            Panel(
                "What other shares would gain",
                "What the best division of the cache would answer more, of the requests for data.",
                "percentunit",
                (Query(most("llmfs_control_share_gain_ratio", "instance"), "{{instance}}"),),
            ),
            Panel(
                "Pressure",
                "How much of the time some task waited for memory, or for a core.",
                "percentunit",
                (Query(most("llmfs_pressure_ratio", "resource"), "{{resource}}"),),
            ),
            States(
                "Stepping back",
                "Whether prefetching and training do, for memory or cores are short.",
                "none",
                (Query(most("llmfs_backing_off", "resource"), "{{resource}}"),),
            ),
        ),
    ),
    Row(
        "The guard",
        6,
        (
            Panel(
                "Findings, by level",
                "Programs that seem to encrypt files: told of, slowed down, refused. llmfs guard list names them.",
                "ops",
                (Query(rate("llmfs_guard_findings_total", "level"), "{{level}}"),),
            ),
            Panel(
                "Refused",
                "Changes that ended in EROFS.",
                "ops",
                (Query(rate("llmfs_guard_denied_requests_total"), "refused"),),
            ),
            Panel(
                "Made to wait",
                "Seconds a second that changes waited.",
                "s",
                (Query(rate("llmfs_guard_throttled_seconds_total"), "waiting"),),
            ),
            Figure(
                "The guard itself",
                "Off: it could not be made, or failed too often; the log says how.",
                "none",
                (Query(f"min by (instance) (llmfs_guard_up{{{MOUNT}}})"),),
                words={"1": ("watches", GOOD), "0": ("off", BAD)},
            ),
        ),
    ),
    Row(
        "What the guard keeps",
        6,
        (
            Panel(
                "Kept to undo changes",
                "On the disk of the cache, within its limit.",
                "bytes",
                (Query(total("llmfs_guard_undo_bytes"), "kept"),),
            ),
            Panel(
                "Not kept to undo changes",
                "Copies that there was no room for.",
                "ops",
                (Query(rate("llmfs_guard_undo_dropped_total"), "dropped"),),
            ),
        ),
    ),
    Row(
        "The processes",
        8,
        (
            Panel(
                "Processors",
                "Seconds a second.",
                "s",
                (
                    Query(rate('process_cpu_seconds_total{job="llmfs"}'), "mount"),
                    Query(rate("llmfs_predictor_process_cpu_seconds_total"), "predictor"),
                ),
            ),
            Panel(
                "Memory",
                "Resident.",
                "bytes",
                (
                    Query(f'sum (process_resident_memory_bytes{{{MOUNT}, job="llmfs"}})', "mount"),
                    Query(total("llmfs_predictor_process_resident_memory_bytes"), "predictor"),
                ),
            ),
            Panel(
                "Descriptors of the mount",
                "Of files of the source, mostly.",
                "none",
                (
                    Query(f'sum (process_open_fds{{{MOUNT}, job="llmfs"}})', "open"),
                    Query(f'sum (process_max_fds{{{MOUNT}, job="llmfs"}})', "limit"),
                ),
            ),
        ),
    ),
    Row(
        "The mounts",
        5,
        (
            Table("Mounts", "Version, source and mount point.", "none", (Query(f"llmfs_info{{{MOUNT}}}"),)),
            Table(
                "Machine profiles",
                "Which bounds of memory and threads each goes by, and why.",
                "none",
                (Query(f"llmfs_machine_profile_info{{{MOUNT}}}"),),
            ),
        ),
    ),
)


def overview() -> models.Dashboard:
    return _dashboard("llmfs", "llmfs", "Is it helping, how much, what is it doing now, is anything wrong?", OVERVIEW)


def details() -> models.Dashboard:
    return _dashboard("llmfs-details", "llmfs: details", "What stands behind the overview.", DETAILS)


def encoded(board: models.Dashboard) -> str:
    """As it stands in the file."""
    return JSONEncoder(sort_keys=True, indent=1).encode(board) + "\n"


FILES = {"llmfs.json": overview, "llmfs-details.json": details}


def main() -> None:
    for name, made in FILES.items():
        (HERE / name).write_text(encoded(made()))


def _dashboard(uid: str, title: str, about: str, rows: Iterable[Row]) -> models.Dashboard:
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["llmfs"])
        .editable()
        .refresh("10s")
        .time("now-15m", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_mounts())
        .link(
            dashboard.DashboardLink("llmfs")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["llmfs"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    number, y = 0, 0
    for row in rows:
        number += 1
        board.with_row(dashboard.Row(row.question).id(number).grid_pos(models.GridPos(1, WIDTH, 0, y)))
        y += 1
        width = WIDTH // len(row.panels)
        for position, panel in enumerate(row.panels):
            number += 1
            place = models.GridPos(row.height, width, position * width, y)
            board.with_panel(_built(panel).id(number).grid_pos(place))
        y += row.height
    return board.build()


def _mounts() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("instance")
        .label("Mount")
        .datasource(SOURCE)
        .query("label_values(llmfs_info, instance)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _built(panel: Panel) -> Builder:
    builder = panel.builder().title(panel.title).description(panel.about).datasource(SOURCE).unit(panel.unit)
    return builder.targets([_target(panel, number, query) for number, query in enumerate(panel.queries)])


def _target(panel: Panel, number: int, query: Query) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(chr(ord("A") + number))
        .datasource(SOURCE)
        .expr(query.expression)
        .legend_format(query.legend)
    )
    return target.instant().format(PromQueryFormat.TABLE) if isinstance(panel, Table) else target.range()


def _words(words: dict[str, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {value: models.ValueMappingResult(text=text, color=color) for value, (text, color) in words.items()}
    )


if __name__ == "__main__":
    main()
