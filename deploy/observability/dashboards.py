"""The Grafana dashboards, as data. `make rules` writes them as Grafana reads them, into `dashboards/`."""

from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 8, 7
"""Of a panel; three fill a row of Grafana's grid of 24."""
QUIET = "No data is good news."
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries`` by legend. ``quiet``: no data is good news, as where a fault makes the first series."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    quiet: bool = False

    def as_grafana_reads_it(self, place: int) -> dict[str, Any]:
        column, row = place % 3, place // 3
        return {
            "id": place + 1,
            "type": self.kind,
            "title": self.title,
            "description": QUIET if self.quiet else "",
            "datasource": _SOURCE,
            "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if self.kind == "timeseries" else {},
            "targets": [
                {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
                for number, (legend, query) in enumerate(self.queries.items())
            ],
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    panels: tuple[Panel, ...]

    def as_grafana_reads_it(self) -> dict[str, Any]:
        source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
        return {
            "uid": f"entrain-{self.uid}",
            "title": f"Entrain: {self.title}",
            "tags": ["entrain"],
            "schemaVersion": 38,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {"list": [source]},
            "panels": [panel.as_grafana_reads_it(place) for place, panel in enumerate(self.panels)],
        }


def per_second(counter: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({counter}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", selector: str = "") -> str:
    labels = ", ".join(filter(None, (by, "le")))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{selector}[$__rate_interval])))"


def quantiles(histogram: str, *shares: float, selector: str = "") -> dict[str, str]:
    return {f"{share * 100:g} %": quantile(share, histogram, selector=selector) for share in shares}


OVERVIEW = Dashboard(
    "overview",
    "promises",
    (
        Panel("Budget left of 30 days", "percentunit", {"{{slo}}": "slo:budget_left:ratio"}, kind="bargauge"),
        Panel("Share that fails, 5 minutes", "percentunit", {"{{slo}}": "slo:errors:ratio_rate5m"}),
        Panel("Alerts", "short", {"{{alertname}}": 'ALERTS{alertstate="firing"}'}, quiet=True),
        Panel(
            "Requests by status",
            "reqps",
            {"{{status}}": per_second('http_requests_total{service="gateway"}', "status")},
        ),
        Panel(
            "Time to answer at the gateway",
            "s",
            quantiles("http_request_duration_seconds", 0.5, 0.99, selector='{service="gateway"}'),
        ),
        Panel("Processes that answer", "short", {"{{job}}": "sum by (job) (up)"}),
        Panel(
            "From a purchase to pro",
            "s",
            quantiles("media_entitlement_delay_seconds", 0.5, 0.99, selector='{plan="pro"}'),
        ),
        Panel("From asking for audio to the file", "s", quantiles("media_audio_ready_seconds", 0.5, 0.95)),
        Panel(
            "Violated invariants", "short", {"{{service}} {{name}}": "max by (service, name) (invariant_violations)"}
        ),
        Panel("What runs", "short", {"{{service}} {{revision}}": "count by (service, revision) (entrain_build_info)"}),
        Panel("Event loop, 99 %", "s", {"{{job}}": quantile(0.99, "event_loop_lag_seconds", "job")}),
        Panel("Memory", "bytes", {"{{job}}": "max by (job) (process_resident_memory_bytes)"}),
    ),
)

GATEWAY = Dashboard(
    "gateway",
    "gateway",
    (
        Panel(
            "Requests by route",
            "reqps",
            {"{{method}} {{route}}": per_second('http_requests_total{service="gateway"}', "method, route")},
        ),
        Panel(
            "Answers with 5xx",
            "reqps",
            {"{{route}}": per_second('http_requests_total{service="gateway",status=~"5.."}', "route")},
            quiet=True,
        ),
        Panel(
            "Time to answer, 99 %",
            "s",
            {"{{route}}": quantile(0.99, "http_request_duration_seconds", "route", '{service="gateway"}')},
        ),
        Panel(
            "Services begin to answer, 99 %",
            "s",
            {"{{upstream}}": quantile(0.99, "upstream_answer_seconds", "upstream")},
        ),
        Panel(
            "Attempts without an answer",
            "reqps",
            {"{{upstream}} {{reason}}": per_second("upstream_failures_total", "upstream, reason")},
            quiet=True,
        ),
        Panel("Breakers: 0 closed, 2 open", "short", {"{{upstream}}": "max by (upstream) (upstream_breaker_state)"}),
        Panel("Refused tokens", "reqps", {"{{reason}}": per_second("session_tokens_refused_total", "reason")}),
        Panel(
            "Requests above an allowance",
            "reqps",
            {"{{allowance}}": per_second("rate_limited_total", "allowance")},
            quiet=True,
        ),
        Panel(
            "Age of the issuers' keys",
            "s",
            {"{{source}}": 'max by (source) (key_set_age_seconds{source!~"gateway for .+"})'},
        ),
    ),
)

BILLING = Dashboard(
    "billing",
    "subscriptions",
    (
        Panel("Webhooks of RevenueCat", "reqps", {"{{outcome}}": per_second("billing_webhooks_total", "outcome")}),
        Panel(
            "Since the last webhook",
            "s",
            {"RevenueCat": "time() - (max(billing_webhook_last_received_timestamp_seconds) > 0)"},
        ),
        Panel(
            "Changes by what led to them",
            "cps",
            {"{{cause}}": per_second("billing_subscription_changes_total", "cause")},
        ),
        Panel("Readings at RevenueCat", "reqps", {"{{outcome}}": per_second("billing_readings_total", "outcome")}),
        Panel("Readings due", "short", {"due": "max(billing_readings_due)"}),
        Panel("The oldest of them is late by", "s", {"late": "max(billing_readings_oldest_seconds)"}),
        Panel(
            "From a webhook to the plan", "s", {"{{plan}}": quantile(0.99, "media_entitlement_delay_seconds", "plan")}
        ),
        Panel("Plans that differed", "short", {"put right": "sum(increase(media_entitlement_differences_total[1h]))"}),
        Panel(
            "Refused keys",
            "short",
            {"RevenueCat": "max(billing_revenuecat_key_refused)", "Clerk": "max(identity_clerk_key_refused)"},
        ),
    ),
)

MEDIA = Dashboard(
    "media",
    "audio",
    (
        Panel("Open render jobs", "short", {"{{owner}} {{status}}": "max by (owner, status) (media_render_jobs)"}),
        Panel("The oldest has waited", "s", {"{{owner}}": "max by (owner) (media_render_oldest_waiting_seconds)"}),
        Panel(
            "Renders by outcome", "cps", {"{{outcome}}": per_second("media_render_duration_seconds_count", "outcome")}
        ),
        Panel(
            "Time to render",
            "s",
            quantiles("media_render_duration_seconds", 0.5, 0.95, selector='{outcome="completed"}'),
        ),
        Panel("From asking to the file", "s", quantiles("media_audio_ready_seconds", 0.5, 0.95)),
        Panel("Refused by the plan", "cps", {"{{reason}}": per_second("media_quota_refusals_total", "reason")}),
        Panel("Affirmations written", "cps", {"{{writer}}": per_second("media_affirmations_written_total", "writer")}),
        Panel(
            "Reads by speech providers",
            "reqps",
            {"{{provider}} {{outcome}}": per_second("media_provider_reads_total", "provider, outcome")},
            quiet=True,
        ),
        Panel(
            "Deletions under way",
            "short",
            {
                "accounts": "max(identity_deletions_open)",
                "customers at RevenueCat": "max(billing_removals_waiting)",
                "audio": "max(media_erasures_open)",
            },
        ),
    ),
)

EVENTS = Dashboard(
    "events",
    "events and data",
    (
        Panel("Events waiting", "short", {"{{schema}}": "max by (schema) (outbox_pending)"}),
        Panel("The oldest of them", "s", {"{{schema}}": "max by (schema) (outbox_oldest_seconds)"}),
        Panel("Events published", "cps", {"{{schema}}": per_second("outbox_published_total", "schema")}),
        Panel("Workers that lead", "short", {"{{schema}}": "sum by (schema) (outbox_relay_leading)"}),
        Panel(
            "Messages handled", "cps", {"{{queue}} {{outcome}}": per_second("messages_handled_total", "queue, outcome")}
        ),
        Panel("Parked messages", "short", {"{{queue}}": "max by (queue) (messages_parked)"}),
        Panel("Attached consumers", "short", {"{{queue}}": "sum by (queue) (consumer_attached)"}),
        Panel(
            "Database sessions in use",
            "percentunit",
            {"{{job}}": "max by (job) (database_pool_sessions_in_use / database_pool_sessions_limit)"},
        ),
        Panel(
            "Since the invariants were looked at",
            "s",
            {"{{service}}": "time() - min by (service) (invariant_last_run_timestamp_seconds)"},
        ),
    ),
)

DASHBOARDS = (OVERVIEW, GATEWAY, BILLING, MEDIA, EVENTS)
