"""What follows a search, as the notebook shows it: finalists, the ensemble's steps, and what is next to type."""

from analysis.prediction.ensemble_file import ensemble_file
from analysis.prediction.submission import predict_options
from trainable.machine.called_as import command_line
from trainable.run_folder.ensemble_record import read_ensemble
from trainable.run_folder.folders import RunFolder


def stage_table(run: RunFolder) -> str:
    """Return markdown of the out-of-fold mIoU after each step of the stored ensemble, or how to make one."""
    file = ensemble_file(run)
    if not file.exists():
        return f"No ensemble is stored yet: `{command_line('analysis/ensemble.py', '--run', run.path.name)}` makes one."
    lines = ["| step | mIoU | 95% interval over photos |", "| --- | --- | --- |"]
    for stage in read_ensemble(file).stages:
        lines.append(f"| {stage.name} | {stage.value:.4f} | {stage.low:.3f} to {stage.high:.3f} |")
    return "\n".join(lines)


def gate_table(run: RunFolder) -> str:
    """Return markdown of what was tried on the ensemble's predictions, what it gained and whether it was taken."""
    file = ensemble_file(run)
    if not file.exists():
        return ""
    lines = ["| tried | gain | taken | why |", "| --- | --- | --- | --- |"]
    for gate in read_ensemble(file).gates:
        value, low, high = gate.gain
        verdict = "yes" if gate.accepted else "no"
        lines.append(f"| {gate.name} | {value:+.4f} ({low:+.4f} to {high:+.4f}) | {verdict} | {gate.reason} |")
    return "\n".join(lines)


def member_table(run: RunFolder) -> str:
    """Return markdown of the members of the stored ensemble and their weights."""
    file = ensemble_file(run)
    if not file.exists():
        return ""
    record = read_ensemble(file)
    lines = [f"{record.reason}.", "", "| member | folds | weight | of its classes |", "| --- | --- | --- | --- |"]
    for member in sorted(record.members, key=lambda member: -sum(member.weights)):
        weights, folds = member.weights, ", ".join(str(model.fold) for model in member.models)
        mean = sum(weights) / len(weights)
        span = f"{min(weights):.2f} to {max(weights):.2f}"
        lines.append(f"| {member.run}/{member.trial} | {folds} | {mean:.2f} | {span} |")
    return "\n".join(lines)


def next_commands(run: RunFolder) -> str:
    """Return markdown of the commands from here to a submission."""
    search, name, place = run.record(), run.path.name, f"runs/{run.path.name}"
    confirm = command_line("search/run.py", "--confirm", name, "--top", "3")
    label = command_line("analysis/pseudo_label.py", "--run", place, "--data", "DIR", "--out", "extra/")
    return "\n".join(
        [
            "```sh",
            f"{confirm}    # the best configs on the folds they lack",
            f"{command_line('analysis/ensemble.py', '--run', place)}    # weights, views and filters",
            command_line(
                "analysis/ensemble_predict.py", "--run", place, *predict_options(search.classes, search.geometry)
            ),
            f"{label}    # then search with --extra extra/",
            f"{command_line('analysis/refit.py', '--run', place)}    # the best config on all photos",
            "```",
        ]
    )
