"""Which values to try next: Optuna proposes, and keeps what it knows in an SQLite file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import UsageError, install_command
from blemish.tuning.question import Question, Range

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
LOCK = ".lock.db"
_QUESTION = "question"


def require_optuna() -> None:
    """`UsageError` with the command that installs it, before any work."""
    if find_spec("optuna") is None:
        raise UsageError(f"tune needs optuna: {install_command('tune')}")


class Proposals:
    """Values to try, one trial after the other; what was interrupted comes first.

    Every question that differs in its lists of values alone is a study of its own in the file, and all share the
    trials.
    """

    def __init__(self, study: optuna.Study, question: Question, seed: int) -> None:
        from optuna.trial import TrialState

        self._study, self._question, self._seed = study, question, seed
        self._current = -1
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            if set(trial.params) == set(question.varied):
                study.enqueue_trial(trial.params, skip_if_exists=False)

    def next(self, wanted: Mapping[str, str] | None = None) -> dict[str, str]:
        """The values to try next: of a grid those that are wanted, else what the sampler proposes."""
        if wanted is not None:
            self._study.enqueue_trial(dict(wanted), skip_if_exists=False)
        values = self._ask()
        while wanted is not None and values != dict(wanted):  # an interruption left others in the queue
            self.tell(None)
            values = self._ask()
        return values

    def tell(self, criterion: float | None) -> None:
        """What came of them; None for a failure."""
        from optuna.trial import TrialState

        if criterion is None:
            self._study.tell(self._current, state=TrialState.FAIL)
        else:
            self._study.tell(self._current, criterion)

    def _ask(self) -> dict[str, str]:
        import optuna

        # a seed for every trial of its own: an interruption then changes nothing of what comes after
        seed = self._seed + len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        trial = self._study.ask({key: _distribution(choices) for key, choices in self._question.varied.items()})
        self._current = trial.number
        return {key: _text(choices, trial.params[key]) for key, choices in self._question.varied.items()}


@contextmanager
def open_proposals(output: Path, question: Question, identity: Mapping[str, Any], seed: int) -> Iterator[Proposals]:
    """The study in a folder, new or gone on with; refused if its trials could not be compared with these."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = output / FILE
    with _alone(output):
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
            for summary in optuna.get_all_study_summaries(storage):
                _refuse_another(summary.user_attrs.get(_QUESTION), identity, output)
            study = optuna.create_study(
                storage=storage, study_name=_name(question), direction="maximize", load_if_exists=True
            )
            study.set_user_attr(_QUESTION, dict(identity))
        except SQLAlchemyError:
            raise UsageError(f"{file} cannot be used as a study; name another --output, or remove it") from None
        try:
            yield Proposals(study, question, seed)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def digest(identity: Mapping[str, Any]) -> str:
    """One word for everything that must be equal."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """`UsageError` while another process works in the folder; the lock ends with the process, however it ends."""
    try:
        lock = sqlite3.connect(output / LOCK, timeout=0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise UsageError(f"{output} cannot be written: {error}; name another --output") from None
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    except sqlite3.OperationalError as error:
        raise UsageError(
            f"another tune is at work in {output} ({error}); wait for it, or name another --output"
        ) from None
    finally:
        lock.close()


def _refuse_another(kept: Any, identity: Mapping[str, Any], output: Path) -> None:
    kept = kept if isinstance(kept, dict) else {}
    different = [key for key in {**kept, **identity} if kept.get(key) != identity.get(key)]
    if different:
        raise UsageError(
            f"{output} holds the trials of another question: {', '.join(different[:3])} differed, and their figures "
            "cannot be compared. Name another --output, or ask the same question again to go on."
        )


def _name(question: Question) -> str:
    keys = (f"{key}={_shown(choices)}" for key, choices in question.varied.items())
    return f"{question.sampler}: {' '.join(keys)}"[:500]


def _shown(choices: Any) -> str:
    return f"{choices.low}..{choices.high}" if isinstance(choices, Range) else ",".join(choices)


def _distribution(choices: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(choices, Range):
        return CategoricalDistribution(tuple(choices))
    if choices.whole:
        return IntDistribution(int(choices.low), int(choices.high), log=choices.log)
    return FloatDistribution(choices.low, choices.high, log=choices.log)


def _text(choices: Any, value: Any) -> str:
    return choices.text(value) if isinstance(choices, Range) else str(value)
