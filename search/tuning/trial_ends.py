"""How a trial ended, in Optuna's terms.

What did not fit into memory, or could not be applied, would end so again, and so would its neighbours: Optuna is told
that the config violates a constraint, so that its sampler leaves the region. Of a trial that merely failed it learns
nothing.
"""

import optuna
from optuna.trial import TrialState

from trainable.run_folder.trial_record import FINISHED, INVALID, OOM, STOPPED

CONSTRAINTS = {OOM: "fits into memory", INVALID: "can be applied"}
"""That a config violates whose trial ended so."""


def tell_end(study: optuna.Study, trial: optuna.Trial, state: str, reason: str = "") -> None:
    """Tell a study the end of a trial whose epochs it has been told.

    Args:
        study: which asked it.
        trial: that has ended.
        state: in which its folder ended, one of `ENDED`.
        reason: why.
    """
    if state == FINISHED:
        values = study.get_trials(deepcopy=False)[trial.number].intermediate_values
        study.tell(trial, max(values.values()))
    elif state == STOPPED:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        trial.set_user_attr("reason", f"{state}: {reason}" if reason else state)
        if state in CONSTRAINTS:
            trial.set_constraint(CONSTRAINTS[state], 1.0)
        study.tell(trial, state=TrialState.PRUNED if state in CONSTRAINTS else TrialState.FAIL)
