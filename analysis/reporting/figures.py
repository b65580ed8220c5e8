"""The report's figures, which can be hovered and zoomed. Colours of text and grid are the page's."""

import math

import optuna
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from analysis.reporting.legend import short
from analysis.results.board import Board, Entry
from analysis.results.importances import MOST, complete_trials, quiet
from trainable.run_folder.trial_record import STOPPED

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1")
"""Of the best trials, told apart also by colour-blind readers. Source: Okabe and Ito 2008, less what is too light."""

OTHERS = "#9AA0A6"
SCALE = sample_colorscale("Viridis", [0.25 + 0.07 * step for step in range(11)])
"""Without the ends, which are lost on a dark and on a light page."""


MOST_NUMBERS = 24
"""Classes whose IoUs are written into their cells; of more they are told where the pointer is."""


def learning_curves(board: Board) -> go.Figure:
    """Return val_miou by epoch of every trial; those that were stopped end with a cross."""
    figure = go.Figure()
    entries = [entry for entry in board.entries if entry.trial.curve]
    for position, entry in reversed(list(enumerate(entries))):  # the best are drawn last, above the others
        best = position < len(COLOURS) and bool(entry.rank)
        figure.add_trace(_curve(board, entry, COLOURS[position] if best else OTHERS, best))
    stopped = [entry.trial for entry in entries if entry.trial.state == STOPPED]
    figure.add_trace(
        go.Scatter(
            x=[trial.curve[-1]["epoch"] for trial in stopped],
            y=[trial.curve[-1]["val_miou"] for trial in stopped],
            mode="markers",
            marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": "#D55E00"}},
            name="stopped",
            hoverinfo="skip",
        )
    )
    figure.update_layout(hovermode="closest", legend={"traceorder": "reversed", "entrywidth": 105}, height=460)
    figure.update_xaxes(title="epoch", rangemode="tozero")
    figure.update_yaxes(title="val_miou", rangemode="tozero")
    return _plain(figure)


def _curve(board: Board, entry: Entry, colour: str, best: bool) -> go.Scatter:
    trial = entry.trial
    params = "<br>".join(_wrapped(board.in_short(trial)))
    name = f"{entry.rank}. trial {trial.label}" if entry.rank else f"trial {trial.label}, {trial.state}"
    return go.Scatter(
        x=[row["epoch"] for row in trial.curve],
        y=[row["val_miou"] for row in trial.curve],
        mode="lines+markers" if len(trial.curve) == 1 else "lines",
        name=name,
        showlegend=best,
        line={"color": colour, "width": 2.5 if best else 1.2},
        opacity=1 if best else 0.6,
        hovertemplate=f"<b>trial {trial.label}</b>, {trial.state}<br>epoch %{{x}}: %{{y:.4f}}<br>{params}"
        "<extra></extra>",
    )


def _wrapped(text: str, width: int = 60) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def class_heatmap(board: Board, count: int = 20) -> go.Figure:
    """Return IoU by class of the best trials."""
    entries = board.ranked[:count]
    rows = [list(entry.class_ious.values()) for entry in entries]
    names = list(board.found.classes.names)
    text = [["–" if math.isnan(value) else f"{value:.2f}" for value in row] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=[[None if math.isnan(value) else value for value in row] for row in rows],
            x=names,
            y=[f"{entry.rank}. trial {entry.trial.label}" for entry in entries],
            text=text,
            texttemplate="%{text}" if len(names) <= MOST_NUMBERS else None,
            colorscale="Viridis",
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorbar={"title": "IoU", "thickness": 12},
            hovertemplate="%{y}<br>%{x}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(height=140 + 26 * len(entries))
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(tickangle=-40, tickvals=names, ticktext=[short(name) for name in names])
    return _plain(figure)


def importances(study: optuna.Study, shares: dict[str, float]) -> go.Figure:
    """Return Optuna's bars of how much each parameter mattered; `shares` as `studies.important` gives them."""
    names = list(shares)[: 2 * MOST]
    with quiet():
        figure = optuna.visualization.plot_param_importances(study, params=names)
    figure.update_traces(marker_color=COLOURS[0])
    figure.update_layout(height=110 + 26 * len(names), showlegend=False)
    figure.update_xaxes(title="importance")
    figure.update_yaxes(title=None)
    return _plain(figure)


def slices(study: optuna.Study, names: list[str]) -> dict[str, go.Figure]:
    """Return Optuna's val_miou by the values of each parameter."""
    figures = {}
    for name in names[:MOST]:
        with quiet():
            figure = optuna.visualization.plot_slice(study, params=[name], target_name="val_miou")
        for trace in figure.data:
            trace.marker.update(colorscale=SCALE, showscale=False, size=9)
            if figure.layout.xaxis.type == "category":
                trace.x = [str(value).strip("'") for value in trace.x]
            elif figure.layout.xaxis.type == "log":
                figure.update_xaxes(dtick="D2" if max(trace.x) < 100 * min(trace.x) else 1)
        figure.update_layout(height=280)
        figure.update_xaxes(title=None, categoryarray=None, categoryorder=None)
        figures[name] = _plain(figure)
    return figures


def parallel_coordinates(study: optuna.Study, names: list[str]) -> go.Figure:
    """Return Optuna's lines through the parameters of each trial, coloured by val_miou."""
    with quiet():
        figure = optuna.visualization.plot_parallel_coordinate(study, params=names[:MOST], target_name="val_miou")
    values = sorted(trial.values[0] for trial in complete_trials(study))
    for trace in figure.data:
        if trace.mode == "lines" and trace.customdata is not None:
            position = (float(trace.customdata[0][1]) - values[0]) / ((values[-1] - values[0]) or 1)
            trace.line.update(color=sample_colorscale(SCALE, [min(max(position, 0.0), 1.0)])[0], width=2)
            trace.opacity = 0.85
        elif trace.mode == "markers":
            trace.marker.colorscale = SCALE
    figure.update_layout(height=420)
    return _plain(figure)


def _plain(figure: go.Figure) -> go.Figure:
    """Leave title, template and colours to the page."""
    figure.update_layout(
        title=None,
        template=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 12, "r": 20, "t": 36, "b": 12},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure
