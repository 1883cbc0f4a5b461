"""Panels and dashboards as plain data, and the JSON that Grafana reads of them."""

from dataclasses import dataclass
from typing import Any, Final, Literal

SCHEMA: Final = 41  # of Grafana 12.1; later ones take it over by themselves
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 24
HEIGHTS: Final = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 6}
CALM: Final = "green"

Type = Literal["timeseries", "stat", "heatmap", "table"]
Query = tuple[str, str]
"""PromQL, and the legend of its series."""


@dataclass(frozen=True)
class Panel:
    """
    One panel.

    Args:
        about: what it shows and what to think of it.
        unit: as Grafana calls it.
        steps: (from this value on, this colour), above green.
        alerts: whose runbooks it links to.
        calm: the colour below the first step.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    type: Type = "timeseries"
    width: int = 8
    steps: tuple[tuple[float, str], ...] = ()
    alerts: tuple[str, ...] = ()
    calm: str = CALM
    stacked: bool = False
    log: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A page: rows of panels, by the rows' titles."""

    name: str
    title: str
    about: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    def json(self) -> dict[str, Any]:
        """As Grafana reads it."""
        return {
            "uid": f"causalrec-{self.name}",
            "title": f"CausalRec / {self.title}",
            "description": self.about,
            "tags": ["causalrec"],
            "schemaVersion": SCHEMA,
            "editable": False,
            "graphTooltip": 1,  # one cursor over all panels
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "browser",
            "links": [
                {"type": "dashboards", "tags": ["causalrec"], "title": "", "keepTime": True, "includeVars": True}
            ],
            "annotations": {"list": [_alerts()]},
            "templating": {"list": _variables()},
            "panels": self._panels(),
        }

    def _panels(self) -> list[dict[str, Any]]:
        """Rows from top to bottom, their panels from left to right, wrapped."""
        found: list[dict[str, Any]] = []
        y = 0
        for title, panels in self.rows:
            row = {"type": "row", "title": title, "collapsed": False, "panels": []}
            found.append({"id": len(found) + 1, **row, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
            y, x, height = y + 1, 0, 0
            for panel in panels:
                if x + panel.width > WIDTH:
                    x, y, height = 0, y + height, 0
                place = {"x": x, "y": y, "w": panel.width, "h": HEIGHTS[panel.type]}
                found.append({"id": len(found) + 1, **_panel(panel), "gridPos": place})
                x, height = x + panel.width, max(height, place["h"])
            y += height
        return found


def _panel(panel: Panel) -> dict[str, Any]:
    steps = [{"color": panel.calm, "value": None}, *({"color": color, "value": value} for value, color in panel.steps)]
    return {
        "type": panel.type,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "links": [
            {"title": f"Runbook: {alert}", "url": f"${{runbooks}}/{alert}.md", "targetBlank": True}
            for alert in panel.alerts
        ],
        "targets": [_target(panel, place, *query) for place, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "thresholds": {"mode": "absolute", "steps": steps},
                **({"custom": _lines(panel)} if panel.type == "timeseries" else {}),
            },
            "overrides": [],
        },
        "options": _options(panel.type),
    }


def _target(panel: Panel, place: int, query: str, legend: str) -> dict[str, Any]:
    form = {"heatmap": "heatmap", "table": "table"}.get(panel.type, "time_series")
    instant = panel.type in ("stat", "table")
    return {
        "refId": "ABCDEFGHIJ"[place],
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query,
        "legendFormat": legend,
        "format": form,
        "instant": instant,
        "range": not instant,
    }


def _lines(panel: Panel) -> dict[str, Any]:
    return {
        "fillOpacity": 20 if panel.stacked else 0,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        "scaleDistribution": {"type": "log", "log": 10} if panel.log else {"type": "linear"},
    }


def _options(type_: Type) -> dict[str, Any]:
    if type_ == "timeseries":
        return {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if type_ == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    return {"calculate": False, "yAxis": {"axisPlacement": "left"}} if type_ == "heatmap" else {"showHeader": True}


def _alerts() -> dict[str, Any]:
    """What fired when, drawn into every panel."""
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"CausalRec.*",alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{severity}}",
    }


def _variables() -> list[dict[str, Any]]:
    instances = 'label_values(causalrec_bundle_info{job="$job"}, instance)'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _asked("job", "Job", "label_values(causalrec_bundle_info, job)"),
        {**_asked("instance", "Replica", instances), "multi": True, "includeAll": True, "allValue": ".*"},
        {
            "name": "runbooks",
            "label": "Runbooks are at",
            "description": "Where docs/runbooks of the repository can be read.",
            "type": "textbox",
            "query": "docs/runbooks",
        },
    ]


def _asked(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
    }
