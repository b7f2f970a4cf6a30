"""Records of trainings in MLflow."""

import time
from collections.abc import Sequence
from typing import Any

from equiprop.training.callbacks._callback import Plan
from equiprop.training.callbacks._tracker import (
    Tracker,
    has_failed,
    hyperparameters,
    run_name,
    simple_name,
    was_interrupted,
)

# As many as the server takes in one request.
_PARAMETERS, _METRICS = 100, 1000


class MLflow(Tracker):
    """Tells MLflow. The run has the name of the run directory; a training that goes on goes on with the same run.

    It is a run of its own, and MLflow's active run stays what it is. `->` in the name of a metric becomes `_to_`. MLflow keeps a
    parameter as it was first: that of a run which goes on with more epochs has the number of then.

    **Arguments:**

    - `experiment`: to which it belongs; made if it is not there.
    - `tracking_uri`: of a server, or `sqlite:///FILE`; by default MLflow's own (`MLFLOW_TRACKING_URI`, or `mlflow.db` in the
      working directory).

    Raises `InputError` if mlflow is not installed (`pip install equiprop[mlflow]`).
    """

    package = "mlflow"
    extra = "mlflow"

    def __init__(self, experiment: str = "equiprop", tracking_uri: str | None = None) -> None:
        super().__init__()
        self.experiment, self.tracking_uri = experiment, tracking_uri
        self._client: Any = None

    @property
    def title(self) -> str:
        return f"MLflow({self.experiment!r})"

    def start(self, plan: Plan) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(self.tracking_uri)
        if not self._goes_on():
            found = self._client.get_experiment_by_name(self.experiment)
            number = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
            self.record = self._client.create_run(number, run_name=run_name(plan)).info.run_id
        there = self._client.get_run(self.record).data.params
        given = {simple_name(name): value for name, value in hyperparameters(plan.settings).items()}
        parameters = [Param(name, str(value)) for name, value in given.items() if name not in there]
        for part in _parts(parameters, _PARAMETERS):
            self._client.log_batch(self.record, params=part)

    def log(self, metrics: dict[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        entries = [Metric(simple_name(name), value, now, epoch) for name, value in metrics.items()]
        for part in _parts(entries, _METRICS):
            self._client.log_batch(self.record, metrics=part)

    def finish(self, reason: str) -> None:
        status = "FAILED" if has_failed(reason) else "KILLED" if was_interrupted(reason) else "FINISHED"
        self._client.set_terminated(self.record, status)

    def _goes_on(self) -> bool:
        """Whether the run that was begun is there; then it is under way again."""
        from mlflow.exceptions import MlflowException

        if not self.record:
            return False
        try:
            found = self._client.get_run(self.record)
        except MlflowException as error:
            # It was begun on another server.
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if found.info.lifecycle_stage != "active":
            return False
        self._client.update_run(self.record, status="RUNNING")
        return True


def _parts(entries: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [entries[i : i + size] for i in range(0, len(entries), size)]
